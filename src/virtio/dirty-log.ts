// virtio: a bitmap of the pages of guest memory that the device has written, which live migration sends again.

/** A bit of the log stands for so many bytes of guest memory: VHOST_LOG_PAGE. */
export const LOG_PAGE_BYTES = 4096;

/**
 * The log of a front end that migrates its guest: bit `page % 8` of byte `page / 8` is set once the device has written
 * to `page`. The front end clears bits, atomically and before it reads the pages.
 */
export class DirtyLog {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /** @param bytes shared with the front end and with other threads. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  /**
   * Marks the pages of [address, address + length) of guest memory, of one byte at least. To be called after they were
   * written. Throws RangeError for a page that has no bit.
   */
  mark(address: number, length: number): void {
    const last = Math.floor((address + length - 1) / LOG_PAGE_BYTES);
    for (let page = Math.floor(address / LOG_PAGE_BYTES); page <= last; page++) {
      const at = Math.floor(page / 8);
      const bit = 1 << (page % 8);
      // A bit that is set stays as it is: most are, and other threads use the same cache line. The front end that clears it
      // after this load reads what was written before it.
      if ((Atomics.load(this.#bytes, at) & bit) === 0) Atomics.or(this.#bytes, at, bit);
    }
  }
}

/** Bytes of a log of guest memory that ends at `end`. */
export function dirtyLogBytes(end: number): number {
  return Math.ceil(end / LOG_PAGE_BYTES / 8);
}
