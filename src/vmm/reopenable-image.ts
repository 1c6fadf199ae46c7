// vmm: a disk image that is closed and unlocked while another process serves it, and opened again afterwards.
import type { BlockStore, StoreLoop } from '../devices/blk/block-store.ts';
import { openStore } from '../stores/open-store.ts';

/** Opens the image. `raw`: without detecting its format. Throws if it cannot. */
export type OpenImage = (format: 'raw' | undefined) => BlockStore;

/** An image with a store that stays the same over `release` and `reopen`. */
export class ReopenableImage {
  /** The store for a device. Its members forward to the open image, and throw while it is closed. */
  readonly store: BlockStore;
  readonly #open: OpenImage;
  #opened: BlockStore | undefined;
  #loop: StoreLoop | undefined;

  constructor(open: OpenImage) {
    this.#open = open;
    const first = open(undefined);
    this.#opened = first;
    this.store = {
      ...{ name: first.name ?? 'image', sizeBytes: first.sizeBytes },
      ...(first.alignment !== undefined && { alignment: first.alignment }),
      ...(first.maxInFlight !== undefined && { maxInFlight: first.maxInFlight }),
      ...(first.physicalBlockBytes !== undefined && { physicalBlockBytes: first.physicalBlockBytes }),
      ...(first.attach && { attach: (loop) => this.#attach(loop) }),
      read: (...request) => this.#now.read(...request),
      ...(first.write && { write: (...request) => this.#now.write?.(...request) }),
      ...(first.readv && { readv: (...request) => this.#now.readv?.(...request) }),
      ...(first.writev && { writev: (...request) => this.#now.writev?.(...request) }),
      ...(first.prefetch && { prefetch: (...request) => this.#now.prefetch?.(...request) }),
      ...(first.flush && { flush: (...request) => this.#now.flush?.(...request) }),
      ...(first.discard && { discard: (...request) => this.#now.discard?.(...request) }),
      ...(first.writeZeroes && { writeZeroes: (...request) => this.#now.writeZeroes?.(...request) }),
    };
  }

  /** Opens an image file or a block device as `openStore` does. */
  static ofFile(path: string): ReopenableImage {
    return new ReopenableImage((format) => openStore(path, { format }).store);
  }

  /** Each open image uses the loop of the first one's device. */
  #attach(loop: StoreLoop): void {
    this.#loop = loop;
    this.#now.attach?.(loop);
  }

  get #now(): BlockStore {
    if (this.#opened === undefined) throw new Error('the image is closed: another process may have it');
    return this.#opened;
  }

  /** Makes completed writes durable, and closes the image. Rejects as the flush does; the image then stays open. */
  async release(): Promise<void> {
    // Linux reports a failed write-back once: after this, the next process to open the file would not see it.
    await this.#now.flush?.();
    await this.close();
  }

  /** Opens the image again, and returns its size. Throws if it cannot, for instance because it is in use. */
  reopen(): number {
    // Raw: the guest may have written bytes that look like another image format.
    if (this.#opened === undefined) {
      this.#opened = this.#open('raw');
      if (this.#loop !== undefined) this.#opened.attach?.(this.#loop);
    }
    return this.#opened.sizeBytes;
  }

  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    await opened?.close?.();
  }
}
