// test/vhost-user/sequences: what a replay puts in the place of the descriptors that a recording names.
import { EventFd } from '../../../src/sys/event-fd.ts';
import { closeFd } from '../../../src/sys/libc.ts';
import { Mapping } from '../../../src/sys/mapping.ts';
import { createMemfd } from '../../../src/sys/memfd.ts';
import { UnixSocket } from '../../../src/sys/unix-socket.ts';
import type { Fields } from './message-fields.ts';
import type { Recording } from './recording.ts';

/** A call descriptor as the driver's side sees it. */
export interface Bell {
  /** What goes with a message. */
  readonly fd: number;
  ring(): void;
  /** Whether it was rung since the last time. */
  heard(): boolean;
}

export class ReplayedDescriptors implements Disposable {
  readonly #bells = new Map<string, Bell & Disposable>();
  readonly #memories = new Map<string, { fd: number; mapping: Mapping }>();
  readonly #sizes: ReadonlyMap<string, number>;

  constructor(recording: Recording) {
    this.#sizes = memorySizes(recording);
  }

  /** The descriptor to send for `eventfd 3`, `memory 1`, `socket 2`. */
  fd(name: string): number {
    return name.startsWith('memory') ? this.#memory(name).fd : this.bell(name).fd;
  }

  /** The bytes of a memory file. */
  memory(name: string): Uint8Array<ArrayBuffer> {
    return this.#memory(name).mapping.bytes;
  }

  #memory(name: string): { fd: number; mapping: Mapping } {
    const known = this.#memories.get(name);
    if (known !== undefined) return known;
    const sizeBytes = this.#sizes.get(name) as number;
    const fd = createMemfd('replay', sizeBytes);
    const made = { fd, mapping: Mapping.ofFile(fd, sizeBytes) };
    this.#memories.set(name, made);
    return made;
  }

  bell(name: string): Bell {
    const known = this.#bells.get(name);
    if (known !== undefined) return known;
    const made = name.startsWith('eventfd') ? eventFdBell() : socketBell();
    this.#bells.set(name, made);
    return made;
  }

  [Symbol.dispose](): void {
    for (const bell of this.#bells.values()) bell[Symbol.dispose]();
    for (const { fd, mapping } of this.#memories.values()) {
      mapping[Symbol.dispose]();
      closeFd(fd);
    }
  }
}

function eventFdBell(): Bell & Disposable {
  const eventFd = EventFd.create();
  return {
    fd: eventFd.fd,
    ring: () => eventFd.signal(),
    heard: () => eventFd.clear(),
    [Symbol.dispose]: () => eventFd[Symbol.dispose](),
  };
}

/** User-Mode Linux has itself called through a socket: each call is eight bytes. */
function socketBell(): Bell & Disposable {
  const [near, far] = UnixSocket.pair();
  return {
    fd: far.fd,
    ring: () => near.send(new Uint8Array(8)),
    heard: () => near.receive(new Uint8Array(4096), []) !== undefined,
    [Symbol.dispose]: () => {
      near[Symbol.dispose]();
      far[Symbol.dispose]();
    },
  };
}

/** How large each memory file has to be for every region that is ever in it, or for the log. */
function memorySizes({ steps }: Recording): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const step of steps) {
    if (!('from' in step) || step.fds === undefined || step.payload === undefined) continue;
    const { payload, fds } = step;
    const regions = (payload.regions as readonly Fields[] | undefined) ?? [payload];
    fds.forEach((name, i) => {
      const end = Number(regions[i]?.offset ?? 0) + Number(regions[i]?.size ?? 0);
      sizes.set(name, Math.max(sizes.get(name) ?? 0, end));
    });
  }
  return sizes;
}
