// First floor: what stands behind a disk. Four members make one; what is present is what the disk can do.

/** A store that answers at once costs no promise; one that cannot is simply `async`. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * The bytes of a disk. Offsets and lengths are bytes, multiples of 512, and lie inside the disk: the device checked them.
 * A call that throws or rejects fails its one request with VIRTIO_BLK_S_IOERR. Calls may overlap in time when they are async.
 */
export interface BlockStore {
  /** A multiple of 512. */
  readonly sizeBytes: number;
  /** How error lines and the log call it. */
  readonly name?: string;
  /** Bytes of a physical block, a power of two from 512: writes smaller than that cost more. */
  readonly physicalBlockBytes?: number;
  /** Fills `into` from `offset`. `into` is guest memory: fill it, do not keep it. */
  read(offset: number, into: Uint8Array): MaybePromise<void>;
  /** Stores `from` at `offset`. Absent: a read-only disk. `from` is guest memory, and the guest can change it meanwhile. */
  write?(offset: number, from: Uint8Array): MaybePromise<void>;
  /** As `read`, for a request that the guest cut in pieces. */
  readv?(offset: number, into: readonly Uint8Array[]): MaybePromise<void>;
  /** As `write`, for a request that the guest cut in pieces. */
  writev?(offset: number, from: readonly Uint8Array[]): MaybePromise<void>;
  /**
   * The next `count` requests begin at these offsets: bring them near if that costs next to nothing, so that their cache
   * misses overlap. They are inside the disk; nothing else is promised.
   */
  prefetch?(offsets: Float64Array, count: number): void;
  /** Makes every completed write durable. Absent: the disk has no volatile cache. */
  flush?(): MaybePromise<void>;
  /** The guest no longer needs these bytes. */
  discard?(offset: number, length: number): MaybePromise<void>;
  /** Makes these bytes read as zeroes; `mayUnmap` allows giving their room back. */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean): MaybePromise<void>;
  /** Looks at the size again (an image that grew), and gives it. */
  refreshSize?(): number;
  /** Gives everything back. Nothing is called afterwards. */
  close?(): MaybePromise<void>;
}

/** A store over another store. */
export type StoreFilter = (next: BlockStore) => BlockStore;
