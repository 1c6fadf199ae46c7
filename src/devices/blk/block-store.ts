// First floor: what stands behind a disk. Two members make one; what is present is what the disk can do.
import type { MaybePromise } from '../../virtio/maybe-promise.ts';

export type { MaybePromise };

/**
 * The bytes of a disk. Offsets and lengths of requests are bytes, multiples of 512, and lie inside the disk: the device checked them. (A
 * single piece of `readv` or `writev` may have any length; their sum is a multiple.) A call that throws or rejects fails its one
 * request with VIRTIO_BLK_S_IOERR. Calls may overlap in time when they are async; what they answer with is ignored.
 *
 * `signal` is the same for all requests of a queue's run. It is aborted when the queue has to stop and they have taken too long:
 * `fetch(url, { signal })` is then given up, and its request fails.
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
  /** A multiple of 512, and of `alignment`. */
  readonly sizeBytes: number;
  /** What error lines and the log call it. */
  readonly name?: string;
  /** Offsets and lengths of requests are multiples of this power of two; the disk's blocks are then at least as large. 512 unless said. */
  readonly alignment?: number;
  /** Bytes of a physical block, a power of two from 512: writes smaller than that cost more. */
  readonly physicalBlockBytes?: number;
  /** How many requests it takes at once, on each thread; more wait in the driver's ring. 1024 unless said. */
  readonly maxInFlight?: number;
  /** Fills `into` from `offset`. `into` is guest memory, or memory for this one request: fill it, do not keep it. */
  read(offset: number, into: Uint8Array, signal?: AbortSignal): MaybePromise<void>;
  /** Stores `from` at `offset`. Absent: a read-only disk. `from` may be guest memory, which the guest can change meanwhile. */
  write?(offset: number, from: Uint8Array, signal?: AbortSignal): MaybePromise<void>;
  /** As `read`, for a request that the guest cut in pieces. */
  readv?(offset: number, into: readonly Uint8Array[], signal?: AbortSignal): MaybePromise<void>;
  /** As `write`, for a request that the guest cut in pieces. */
  writev?(offset: number, from: readonly Uint8Array[], signal?: AbortSignal): MaybePromise<void>;
  /**
   * The next `count` requests begin at these offsets: bring them near if that costs next to nothing, so that their cache
   * misses overlap. They are inside the disk; nothing else is promised.
   */
  prefetch?(offsets: Float64Array, count: number): void;
  /** Makes every completed write durable. Absent: the disk has no volatile cache. */
  flush?(signal?: AbortSignal): MaybePromise<void>;
  /** The guest no longer needs these bytes. */
  discard?(offset: number, length: number, signal?: AbortSignal): MaybePromise<void>;
  /** Makes these bytes read as zeroes; `mayUnmap` allows giving their room back. */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean, signal?: AbortSignal): MaybePromise<void>;
  /** Looks at the size again (an image that grew), and returns it. */
  refreshSize?(): number;
  /** Gives everything back. Nothing is called afterwards. */
  close?(): MaybePromise<void>;
}

/** A store over another store. */
export type StoreFilter = (next: BlockStore) => BlockStore;
