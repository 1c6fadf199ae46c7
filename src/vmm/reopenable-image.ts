// The microVM: a disk image that is closed, lock and all, while another process serves it, and opened again afterwards.
import type { BlockStore } from '../devices/blk/block-store.ts';
import { openStore } from '../stores/open-store.ts';

/** Opens the image. `raw`: whatever its bytes look like. Throws what says why it cannot. */
export type OpenImage = (format: 'raw' | undefined) => BlockStore;

export class ReopenableImage {
  /** For a device: its members stay while the store behind them changes. Nothing calls them while the image is closed. */
  readonly store: BlockStore;
  readonly #open: OpenImage;
  #opened: BlockStore | undefined;

  constructor(open: OpenImage) {
    this.#open = open;
    const first = open(undefined);
    this.#opened = first;
    this.store = {
      ...{ name: first.name ?? 'image', sizeBytes: first.sizeBytes },
      ...(first.alignment !== undefined && { alignment: first.alignment }),
      ...(first.maxInFlight !== undefined && { maxInFlight: first.maxInFlight }),
      ...(first.physicalBlockBytes !== undefined && { physicalBlockBytes: first.physicalBlockBytes }),
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

  /** An image file or a block device, as `openStore` opens it. */
  static ofFile(path: string): ReopenableImage {
    return new ReopenableImage((format) => openStore(path, { format }).store);
  }

  get #now(): BlockStore {
    if (this.#opened === undefined) throw new Error('the image is closed: another process may have it');
    return this.#opened;
  }

  /** Makes what was written durable, and closes it. Throws what a flush throws; the image then stays open. */
  async release(): Promise<void> {
    // A write that Linux could not keep is reported here or never: the next to open the file would not hear of it.
    await this.#now.flush?.();
    await this.close();
  }

  /** Opens it again, and returns its size. Throws why it cannot, for instance because it is in use. */
  reopen(): number {
    // Its bytes are the guest's meanwhile: what looks like an image of another format is what the guest wrote.
    this.#opened ??= this.#open('raw');
    return this.#opened.sizeBytes;
  }

  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    await opened?.close?.();
  }
}
