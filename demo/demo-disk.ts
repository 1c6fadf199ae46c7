// demo: a sparse disk in a folder of its own, served by threads of this process; both are removed afterwards.
import {
  accessSync,
  mkdtempSync,
  constants as open,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RecordableHistogram } from 'node:perf_hooks';
import { DeviceDaemon } from '../src/daemon/device-daemon.ts';
import type { DeviceSnapshot } from '../src/daemon/device-snapshot.ts';
import { formatSize, type Log, openStore } from '../src/index.ts';
import { UnixListener } from '../src/sys/unix-socket.ts';

export interface DemoDiskOptions {
  readonly sizeBytes: number;
  /** Roughly how much the guest writes to it. */
  readonly contentBytes: number;
  /** Memory of the guest, which may be a file in /dev/shm beside the disk. */
  readonly guestBytes: number;
  /** Called with each log line of the device. */
  readonly log: Log;
}

const MEMORY_FOLDER = '/dev/shm';
const QUEUES = 16;
const STAT_BLOCK_BYTES = 512;

export class DemoDisk implements AsyncDisposable {
  readonly path: string;
  readonly socket: string;
  readonly isInMemory: boolean;
  /** Aborted when serving fails, with the reason. */
  readonly ended: AbortSignal;
  readonly #daemon: DeviceDaemon;
  readonly #resources: DisposableStack;
  readonly #folder: string;
  #isKept = false;
  #snapshot: Promise<DeviceSnapshot> | undefined;

  private constructor(folder: string, daemon: DeviceDaemon, resources: DisposableStack) {
    this.path = imageIn(folder);
    this.socket = socketIn(folder);
    this.isInMemory = folder.startsWith(MEMORY_FOLDER);
    this.#folder = folder;
    this.#daemon = daemon;
    this.#resources = resources;
    const end = new AbortController();
    daemon.closed.catch((error) => end.abort(error));
    this.ended = end.signal;
  }

  /** Starts serving. Throws RangeError where no folder has room, SystemError, or the file system's error. */
  static async start(options: DemoDiskOptions): Promise<DemoDisk> {
    const folder = mkdtempSync(join(folderFor(options), 'belfry-demo-'));
    try {
      return await DemoDisk.#serve(folder, options);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  static async #serve(folder: string, options: DemoDiskOptions): Promise<DemoDisk> {
    using resources = new DisposableStack();
    writeFileSync(imageIn(folder), '', { mode: 0o600 });
    truncateSync(imageIn(folder), options.sizeBytes);
    const { store, description } = openStore(imageIn(folder));
    resources.defer(() => store.close?.());
    const listener = resources.use(UnixListener.listen(socketIn(folder)));
    const blockOptions = { queues: QUEUES, serial: 'belfry-demo', blockSize: 512 };
    const device = { kind: 'blk', store: description, options: blockOptions } as const;
    const rest = { threads: 1, poll: 'auto', once: false, log: options.log } as const;
    const daemon = new DeviceDaemon({ device, listener, ...rest });
    await daemon.ready();
    return new DemoDisk(folder, daemon, resources.move());
  }

  /** Latency of requests inside the device, in ns. */
  get latency(): RecordableHistogram {
    return this.#daemon.latency;
  }

  /** What the image occupies, in bytes; less than its size where it has holes. */
  allocatedBytes(): number {
    return statSync(this.path).blocks * STAT_BLOCK_BYTES;
  }

  /** Keeps the image when disposed of. */
  keep(): void {
    this.#isKept = true;
  }

  /** Stops serving, once; returns the final counts. Rejects when serving failed. */
  stop(): Promise<DeviceSnapshot> {
    this.#snapshot ??= this.#close();
    return this.#snapshot;
  }

  async #close(): Promise<DeviceSnapshot> {
    void this.#daemon.close();
    return await this.#daemon.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // An error has already been reported through `ended`.
    await this.stop().catch(() => {});
    this.#resources.dispose();
    if (!this.#isKept) rmSync(this.#folder, { recursive: true, force: true });
  }
}

function imageIn(folder: string): string {
  return join(folder, 'disk.img');
}

function socketIn(folder: string): string {
  return join(folder, 'disk.sock');
}

function folderFor({ contentBytes, guestBytes }: DemoDiskOptions): string {
  if (roomIn(MEMORY_FOLDER) >= contentBytes + guestBytes) return MEMORY_FOLDER;
  if (roomIn(tmpdir()) >= contentBytes) return tmpdir();
  const needed = formatSize(contentBytes);
  throw new RangeError(
    `${tmpdir()} has no room for ${needed}: point TMPDIR at a folder that has, or use a smaller --data`,
  );
}

/** Bytes free in `folder`; 0 where it may not be written to. */
function roomIn(folder: string): number {
  try {
    accessSync(folder, open.W_OK | open.X_OK);
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return 0;
  }
}
