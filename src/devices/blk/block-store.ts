// virtio-blk: the interface of a store. Two members suffice; the disk offers what the others make possible.
import type { DevicePollable } from '../../virtio/device.ts';
import type { MaybePromise } from '../../virtio/maybe-promise.ts';

export type { DevicePollable, MaybePromise };

/** Is called once, when an operation has ended. */
export interface CompletionListener {
  /** Without an error the operation succeeded. */
  completed(error: Error | undefined): void;
}

/**
 * What a store may return in place of a promise: an operation that completes later, without the steps of the event loop
 * that a promise takes. `StoreCompletion` is one. Whoever knows no better awaits it like a promise.
 */
export interface Completion extends PromiseLike<undefined> {
  /** Calls `listener` when the operation ends, or now if it has ended. Takes one listener, and no `then` beside it. */
  listen(listener: CompletionListener): void;
}

/** The event loop of the thread that uses a store. */
export interface StoreLoop {
  /** Calls `readable` while `fd` is readable, until disposed; `pollable` is polled before the loop sleeps. */
  watch(fd: number, handlers: { readonly readable: () => void; readonly pollable?: DevicePollable }): Disposable;
  /**
   * Runs `task` after the current events and before the loop sleeps. A pending task is not added again.
   * @param source reports in `isSettled` whether the task left a promise. Absent: it may have.
   */
  soon(task: () => void, source?: Pick<DevicePollable, 'isSettled'>): void;
  /** Calls `task` once, after `delayMs`, unless disposed before. */
  timer(delayMs: number, task: () => void): Disposable;
  /**
   * Runs `complete`, which finishes completions: the driver is shown all of them at its end, with one notification.
   * Absent: it is shown each of them at once.
   */
  batch?(complete: () => void): void;
}

/**
 * The bytes of a disk. Offsets and lengths of requests are bytes, multiples of 512, and inside the disk: the device has
 * checked them. (A single piece of `readv` or `writev` may have any length; their sum is a multiple.) A call that
 * throws or rejects fails its request, and no other: see `ErrorPolicy`. Async calls may overlap in time. A returned
 * value that is no promise is ignored. A store whose library reports by a callback returns a `Completion`, which
 * costs less than a promise.
 *
 * `signal` is the same for all requests between start and stop of a queue. It is aborted when the queue has to stop and
 * its requests take too long: `fetch(url, { signal })` then rejects, and the request fails.
 *
 * @example A disk of memory:
 * const bytes = new Uint8Array(64 * 1024 * 1024);
 * const disk: BlockStore = {
 *   sizeBytes: bytes.length,
 *   read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
 *   write: (offset, from) => bytes.set(from, offset),
 * };
 */
export interface BlockStore {
  /** The size of the disk: a multiple of 512, and of `alignment`. */
  readonly sizeBytes: number;
  /** Its name in error messages and the log. */
  readonly name?: string;
  /**
   * Offsets and lengths of requests are multiples of this power of two; the disk's blocks are then at least as large.
   * Default 512.
   */
  readonly alignment?: number;
  /** Bytes of a physical block, a power of two from 512: writes smaller than that cost more. */
  readonly physicalBlockBytes?: number;
  /** Requests in flight at most, on each thread; more wait in the driver's ring. Default 1024. */
  readonly maxInFlight?: number;
  /**
   * Called once, before all requests, with the event loop of this thread: a store whose requests complete by a
   * descriptor watches it there. A device with an event loop calls it; a store by itself has to work without.
   */
  attach?(loop: StoreLoop): void;
  /** Fills `into` from `offset`. `into` is guest memory, or a buffer for this request: do not keep it. */
  read(offset: number, into: Uint8Array, signal?: AbortSignal): MaybePromise<void>;
  /**
   * Stores `from` at `offset`. Absent: a read-only disk. `from` may be guest memory, which the guest can change at any
   * time.
   */
  write?(offset: number, from: Uint8Array, signal?: AbortSignal): MaybePromise<void>;
  /** As `read`, for a request whose data is in several pieces. */
  readv?(offset: number, into: readonly Uint8Array[], signal?: AbortSignal): MaybePromise<void>;
  /** As `write`, for a request whose data is in several pieces. */
  writev?(offset: number, from: readonly Uint8Array[], signal?: AbortSignal): MaybePromise<void>;
  /**
   * Prefetches for the next `count` requests, which begin at the first `count` of `offsets`, so that their cache misses
   * overlap. It has to be cheap. The offsets are inside the disk; they need not be aligned, nor be those of the
   * requests.
   */
  prefetch?(offsets: Float64Array, count: number): void;
  /** Makes every completed write durable. Absent: the disk has no volatile cache. */
  flush?(signal?: AbortSignal): MaybePromise<void>;
  /** Discards these bytes: the guest no longer needs them. */
  discard?(offset: number, length: number, signal?: AbortSignal): MaybePromise<void>;
  /** Makes these bytes read as zeroes; `mayUnmap` allows deallocating them. */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean, signal?: AbortSignal): MaybePromise<void>;
  /** Reads the size again (an image may have grown), and returns it. */
  refreshSize?(): number;
  /** Frees all resources. Nothing is called afterwards. */
  close?(): MaybePromise<void>;
}

/** A store over another store. */
export type StoreFilter = (next: BlockStore) => BlockStore;
