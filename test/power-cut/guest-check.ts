// test/power-cut: one guest that mounts the disk of one cut point after another, and sends its files.
import { join } from 'node:path';
import { BlockDevice } from '../../src/index.ts';
import type { CutPoint } from './cut-points.ts';
import { type CutState, cutStates, type OnReport, type PointReport, type Recorded } from './cut-state.ts';
import type { FileSystem } from './file-system.ts';
import { type GuestKit, runGuestSession } from './guest-session.ts';
import { HostShell } from './host-shell.ts';
import { writeImage } from './image-file.ts';
import { messageDisk } from './message-disk.ts';
import { imageStore, PagedImage } from './paged-image.ts';
import { tarFiles } from './tar-files.ts';

export interface GuestCheckOptions {
  readonly kit: GuestKit;
  readonly points: readonly CutPoint[];
  /** For images; on a file system in memory it is fast. */
  readonly folder: string;
  readonly onReport: OnReport;
  readonly signal?: AbortSignal;
}

const ARCHIVE_BYTES = 32 * 2 ** 20;
const NEXT = 'next';
const END = 'end';
const EMPTY = new PagedImage(0);

/** Throws an Error with the end of the console when the guest ends early. */
export async function checkInGuest(recorded: Recorded, options: GuestCheckOptions): Promise<void> {
  using shell = new HostShell(options.signal);
  const checker = new Checker(recorded, options, shell);
  const { kit, signal } = options;
  const { fileSystem } = recorded;
  const messages = messageDisk(
    () => checker.order,
    (line) => checker.receive(line),
  );
  const tail = await runGuestSession(kit, {
    disks: [
      new BlockDevice(imageStore(fileSystem.diskBytes, () => checker.disk)),
      new BlockDevice(messages),
      new BlockDevice(imageStore(ARCHIVE_BYTES, () => checker.archive)),
    ],
    script: mountScript(fileSystem),
    ...(signal && { signal }),
  });
  if (checker.error !== undefined) throw checker.error;
  if (checker.order !== END) throw new Error(`the guest ended before point ${checker.number}\n${tail.join('\n')}`);
}

/** What the guest's disks hold, from point to point. */
class Checker {
  disk = EMPTY;
  archive = EMPTY;
  /** What the guest reads before each point. */
  order: typeof NEXT | typeof END = NEXT;
  /** What made a check impossible. */
  error: unknown;
  readonly #options: GuestCheckOptions;
  readonly #fileSystem: FileSystem;
  readonly #shell: HostShell;
  readonly #states: Iterator<CutState>;
  #state: CutState | undefined;

  constructor(recorded: Recorded, options: GuestCheckOptions, shell: HostShell) {
    this.#fileSystem = recorded.fileSystem;
    this.#shell = shell;
    this.#options = options;
    this.#states = cutStates(recorded, options.points);
    this.#advance();
  }

  get number(): number {
    return this.#state?.point.number ?? 0;
  }

  /** The guest's report on one point: `NAME=CODE …`, 0 where it succeeded. The guest goes on when it is judged. */
  async receive(line: string): Promise<void> {
    const state = this.#state;
    if (state === undefined || this.order === END) return;
    try {
      const found = await this.#check(state, line);
      if (this.#options.onReport({ state, where: 'mounted by a guest', ...found })) this.#advance();
      else this.order = END;
    } catch (error) {
      this.error = error;
      this.order = END;
    }
  }

  async #check({ promises }: CutState, line: string): Promise<Pick<PointReport, 'problems' | 'broken'>> {
    const { folder } = this.#options;
    const { check } = this.#fileSystem;
    const failed = [...line.matchAll(/(\w+)=([1-9]\d*)/g)].map(([, what, code]) => `${what} failed with code ${code}`);
    if (!line.startsWith('mount=0 ')) return { problems: failed, broken: [] };
    const path = join(folder, 'guest.img');
    writeImage(path, this.disk);
    const { code, output } = await this.#shell.run(...check, path);
    const unclean = code === 0 ? [] : [`after a mount, ${check.join(' ')} exited with ${code}: ${output}`];
    return { problems: [...failed, ...unclean], broken: promises.broken(this.#files()) };
  }

  #advance(): void {
    const { value, done } = this.#states.next();
    if (done) {
      this.order = END;
      return;
    }
    this.#state = value;
    this.disk = new PagedImage(value.image.sizeBytes, value.image);
    this.archive = new PagedImage(ARCHIVE_BYTES);
  }

  #files(): ReturnType<typeof tarFiles> {
    const bytes = new Uint8Array(ARCHIVE_BYTES);
    for (const [offset, page] of this.archive.content()) bytes.set(page, offset);
    return tarFiles(bytes);
  }
}

// The disk is a different one at each mount: the last close of a disk drops what the kernel cached of it.
function mountScript({ name }: FileSystem): string {
  return `while read -r order </dev/vdb && [ "$order" = ${NEXT} ]; do
  archive=0 unmount=0
  mount -t ${name} /dev/vda /mnt; mount=$?
  if [ $mount = 0 ]; then
    tar -cf /dev/vdc -C /mnt . ; archive=$?
    umount /mnt; unmount=$?
  fi
  echo "mount=$mount archive=$archive unmount=$unmount" >/dev/vdb
  echo checked
done`;
}
