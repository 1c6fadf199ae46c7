// stores: any file or block device with many requests at a time: through io_uring(7), or on a few threads.
import type { BlockStore, MaybePromise, StoreLoop } from '../devices/blk/block-store.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from '../sys/constants.ts';
import type { ImageFile } from '../sys/file.ts';
import { IoUring } from '../sys/io-uring.ts';
import type { IoRequest, OperationRing } from '../sys/operation-ring.ts';
import { readCached } from '../sys/read-cached.ts';
import { ThreadRing } from '../sys/thread-ring.ts';
import { Step, Transfer } from './file-operations.ts';
import { readOnly } from './filters/read-only.ts';
import { OperationQueue } from './operation-queue.ts';
import { type FlushState, SyncFile } from './sync-file.ts';

/** Operations at a time, on each thread of the device. More requests wait in the driver's ring. */
const IN_FLIGHT_MAX = 256;
/** Threads for the requests of one thread of the device, without io_uring(7). */
const THREADS = 4;

/**
 * Serves `file`; the store closes it. Read-only if the file was opened so. Before `attach` every request is
 * synchronous. `state`: if other stores serve it too.
 */
export function uringFile(file: ImageFile, state?: FlushState): BlockStore {
  return served(new RingFile(file, uringFor, state));
}

/**
 * As `uringFile`, for a kernel without io_uring(7): each request is a system call on one of a few threads. A read of
 * what is in the page cache stays on this thread, which costs less than to wake another one.
 */
export function threadsFile(file: ImageFile, state?: FlushState): BlockStore {
  return served(new ThreadsFile(file, threadsFor, state));
}

function served(store: RingFile): BlockStore {
  return store.isReadOnly ? readOnly()(store) : store;
}

function uringFor({ fd }: ImageFile): OperationRing {
  const ring = IoUring.create(IN_FLIGHT_MAX);
  ring.registerFile(fd);
  return ring;
}

function threadsFor(): OperationRing {
  return new ThreadRing({ entries: IN_FLIGHT_MAX, threads: THREADS });
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

class RingFile extends SyncFile {
  readonly maxInFlight = IN_FLIGHT_MAX;
  readonly #ringFor: (file: ImageFile) => OperationRing;
  #queue: OperationQueue | undefined;

  constructor(file: ImageFile, ringFor: (file: ImageFile) => OperationRing, state?: FlushState) {
    super(file, state);
    this.#ringFor = ringFor;
  }

  get isReadOnly(): boolean {
    return this.file.readOnly;
  }

  attach(loop: StoreLoop): void {
    this.#queue ??= new OperationQueue(this.#ringFor(this.file), loop);
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
    queue: OperationQueue,
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

  #allocate(queue: OperationQueue, mode: number, offset: number, length: number): Step {
    const { fd } = this.file;
    const flags = FALLOC_FL_KEEP_SIZE | mode;
    return started(queue, 'fallocate', (ring, request) => ring.fallocate(fd, flags, offset, length, request));
  }

  override close(): MaybePromise<void> {
    this.#queue?.close();
    return super.close();
  }
}

/** Reads what is in the page cache at once. */
class ThreadsFile extends RingFile {
  /** Whether the file system can say that it would have to wait. */
  #isAsked = this.file.direct === undefined;

  override read(offset: number, into: Uint8Array, signal?: AbortSignal): MaybePromise<void> {
    if (this.#isCached(offset, [into])) return;
    return super.read(offset, into, signal);
  }

  override readv(offset: number, into: readonly Uint8Array[], signal?: AbortSignal): MaybePromise<void> {
    if (this.#isCached(offset, into)) return;
    return super.readv(offset, into, signal);
  }

  /** Whether all of it was read. */
  #isCached(offset: number, into: readonly Uint8Array[]): boolean {
    if (!this.#isAsked) return false;
    const outcome = readCached(this.file.fd, offset, into);
    if (outcome === 'unsupported') this.#isAsked = false;
    return outcome === 'read';
  }
}

function started(queue: OperationQueue, syscall: string, put: (ring: OperationRing, request: IoRequest) => void): Step {
  const step = new Step(queue, syscall, put);
  queue.start(step);
  return step;
}
