// daemon: mapped memory that another program took away while a thread used it: the error, and whose memory it was.
import { fstatSync } from 'node:fs';
import type { DeviceSource } from './device-source.ts';

/** Mapped memory was truncated while the device used it: that of the front end, or the image of the disk. */
export class MemoryLostError extends Error {
  /** Match on this: the message may change. */
  readonly code = 'BELFRY_MEMORY_LOST';

  /** @param image the image that was truncated, if it was one. */
  constructor(image?: string) {
    super(
      image === undefined
        ? 'the front end took back memory that it had shared: it made the file shorter, or the file system is full'
        : `${image} became shorter while it was served: another program truncated it; stop a guest before its image shrinks`,
    );
    this.name = 'MemoryLostError';
  }
}

/** Tells whether it was the image: an access beyond the end of a mapped file raises SIGBUS, as one of lost memory. */
export class ImageSize {
  readonly #image: { readonly fd: number; readonly name: string } | undefined;
  #sizeBytes = 0;

  constructor(source: DeviceSource) {
    this.#image = source.kind === 'blk' && source.store.engine === 'mapped' ? source.store : undefined;
    this.note();
  }

  /** Takes the current size as the one that is served. */
  note(): void {
    this.#sizeBytes = this.#currentSize();
  }

  /** The error for a thread that lost memory just now. */
  lossError(): MemoryLostError {
    return new MemoryLostError(this.#currentSize() < this.#sizeBytes ? this.#image?.name : undefined);
  }

  /** 0 without an image. The threads report a descriptor that is not open. */
  #currentSize(): number {
    try {
      return this.#image === undefined ? 0 : fstatSync(this.#image.fd).size;
    } catch {
      return 0;
    }
  }
}
