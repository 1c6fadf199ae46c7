// test/vhost-user/sequences: names for the descriptors of messages; one file has one name.
import { fstatSync, readFileSync, readlinkSync } from 'node:fs';

export class DescriptorNames {
  readonly #names = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  /** `eventfd 3`, `memory 1`, `socket 2`; the same again for another descriptor of the same file. */
  name(fd: number): string {
    const { kind, identity } = identify(fd);
    const known = this.#names.get(identity);
    if (known !== undefined) return known;
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    const name = `${kind} ${count}`;
    this.#names.set(identity, name);
    return name;
  }
}

function identify(fd: number): { kind: string; identity: string } {
  const target = readlinkSync(`/proc/self/fd/${fd}`);
  // All eventfds share an inode; since Linux 5.2 each has a number in fdinfo.
  const eventFd = /^eventfd-id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  if (eventFd !== undefined) return { kind: 'eventfd', identity: `eventfd ${eventFd}` };
  const { dev, ino } = fstatSync(fd);
  const kind = /^(socket|pipe):/.exec(target)?.[1] ?? 'memory';
  return { kind, identity: `${dev}:${ino}` };
}
