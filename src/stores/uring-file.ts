// stores: any file or block device through io_uring(7): many requests at a time, a system call for all of them.
import type { BlockStore, MaybePromise, StoreLoop } from '../devices/blk/block-store.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from '../sys/constants.ts';
import type { ImageFile } from '../sys/file.ts';
import { type IoRequest, IoUring } from '../sys/io-uring.ts';
import { readOnly } from './filters/read-only.ts';
import { type FlushState, SyncFile } from './sync-file.ts';
import { Step, Transfer } from './uring-operations.ts';
import { UringQueue } from './uring-queue.ts';

/** Operations at a time, on each thread. More requests wait in the driver's ring. */
const IN_FLIGHT_MAX = 256;

/**
 * Serves `file`; the store closes it. Read-only if the file was opened so. Before `attach` every request is
 * synchronous. `state`: if other stores serve it too.
 */
export function uringFile(file: ImageFile, state?: FlushState): BlockStore {
  const store = new UringFile(file, state);
  return file.readOnly ? readOnly()(store) : store;
}

/** Why this thread cannot use io_uring(7); undefined if it can. */
export function uringProblem(): string | undefined {
  try {
    IoUring.create(1)[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

class UringFile extends SyncFile {
  readonly maxInFlight = IN_FLIGHT_MAX;
  #queue: UringQueue | undefined;

  attach(loop: StoreLoop): void {
    if (this.#queue !== undefined) return;
    const ring = IoUring.create(IN_FLIGHT_MAX);
    ring.registerFile(this.file.fd);
    this.#queue = new UringQueue(ring, loop);
  }

  override read(offset: number, into: Uint8Array, signal?: AbortSignal): MaybePromise<void> {
    return this.#queue ? this.#move(this.#queue, true, offset, [into], signal) : super.read(offset, into);
  }

  override readv(offset: number, into: readonly Uint8Array[], signal?: AbortSignal): MaybePromise<void> {
    return this.#queue ? this.#move(this.#queue, true, offset, into, signal) : super.readv(offset, into);
  }

  override write(offset: number, from: Uint8Array, signal?: AbortSignal): MaybePromise<void> {
    return this.#queue ? this.#move(this.#queue, false, offset, [from], signal) : super.write(offset, from);
  }

  override writev(offset: number, from: readonly Uint8Array[], signal?: AbortSignal): MaybePromise<void> {
    return this.#queue ? this.#move(this.#queue, false, offset, from, signal) : super.writev(offset, from);
  }

  #move(
    queue: UringQueue,
    isRead: boolean,
    offset: number,
    pieces: readonly Uint8Array[],
    signal: AbortSignal | undefined,
  ): Transfer {
    const transfer = new Transfer(queue, this.file.fd, isRead, offset, pieces);
    queue.start(transfer, signal);
    return transfer;
  }

  /** Covers the writes that have completed, as the driver expects; those in flight are covered or not. */
  override flush(): MaybePromise<void> {
    const queue = this.#queue;
    if (queue === undefined) return super.flush();
    this.throwIfFlushFailed();
    const { fd } = this.file;
    return this.keepFailure(started(queue, 'fdatasync', (ring, request) => ring.fdatasync(fd, request)));
  }

  /** For a block device there is no such operation: it is synchronous. */
  override discard(offset: number, length: number): MaybePromise<void> {
    const queue = this.#queue;
    if (queue === undefined || this.file.isBlockDevice) return super.discard(offset, length);
    const synchronously = (): MaybePromise<void> => super.discard(offset, length);
    return this.#allocate(queue, FALLOC_FL_PUNCH_HOLE, offset, length).then(undefined, synchronously);
  }

  /** Where the file system or device cannot do it, the synchronous way writes zeroes. */
  override writeZeroes(offset: number, length: number, mayUnmap: boolean): MaybePromise<void> {
    const queue = this.#queue;
    if (queue === undefined) return super.writeZeroes(offset, length, mayUnmap);
    const mode = mayUnmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    const synchronously = (): MaybePromise<void> => super.writeZeroes(offset, length, mayUnmap);
    return this.#allocate(queue, mode, offset, length).then(undefined, synchronously);
  }

  #allocate(queue: UringQueue, mode: number, offset: number, length: number): Step {
    const { fd } = this.file;
    const flags = FALLOC_FL_KEEP_SIZE | mode;
    return started(queue, 'fallocate', (ring, request) => ring.fallocate(fd, flags, offset, length, request));
  }

  override close(): MaybePromise<void> {
    this.#queue?.close();
    return super.close();
  }
}

function started(queue: UringQueue, syscall: string, put: (ring: IoUring, request: IoRequest) => void): Step {
  const step = new Step(queue, syscall, put);
  queue.start(step);
  return step;
}
