// The microVM: a disk image that is closed, lock and all, while somebody else serves it, and opened again afterwards.
import type { BlockStore } from '../devices/blk/block-store.ts';

export class LendableImage {
  /** For a device: its members stay, what they lead to comes and goes. Nothing calls them while the image is lent. */
  readonly store: BlockStore;
  readonly #open: () => BlockStore;
  #opened: BlockStore | undefined;

  /** @param open opens the image; throws what says why it cannot. */
  constructor(open: () => BlockStore) {
    this.#open = open;
    const first = open();
    this.#opened = first;
    this.store = {
      name: first.name ?? 'image',
      sizeBytes: first.sizeBytes,
      ...(first.physicalBlockBytes !== undefined && { physicalBlockBytes: first.physicalBlockBytes }),
      read: (offset, into) => this.#here.read(offset, into),
      ...(first.write && { write: (offset, from) => this.#here.write?.(offset, from) }),
      ...(first.readv && { readv: (offset, into) => this.#here.readv?.(offset, into) }),
      ...(first.writev && { writev: (offset, from) => this.#here.writev?.(offset, from) }),
      ...(first.prefetch && { prefetch: (offsets, count) => this.#here.prefetch?.(offsets, count) }),
      ...(first.flush && { flush: () => this.#here.flush?.() }),
      ...(first.discard && { discard: (offset, length) => this.#here.discard?.(offset, length) }),
      ...(first.writeZeroes && {
        writeZeroes: (offset, length, mayUnmap) => this.#here.writeZeroes?.(offset, length, mayUnmap),
      }),
    };
  }

  get #here(): BlockStore {
    if (this.#opened === undefined) throw new Error('the image is lent');
    return this.#opened;
  }

  /** Makes what was written durable, and closes it. Throws what a flush throws; the image then stays open. */
  async release(): Promise<void> {
    // A write that Linux could not keep is reported here or never: the next to open the file would not hear of it.
    await this.#here.flush?.();
    await this.close();
  }

  /** Opens it again, and gives its size. Throws why it cannot, for instance because it is in use. */
  reacquire(): number {
    this.#opened ??= this.#open();
    return this.#opened.sizeBytes;
  }

  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    await opened?.close?.();
  }
}
