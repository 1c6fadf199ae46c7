// Stores: any file or block device, one system call a request, through the page cache.
import type { BlockStore } from '../devices/blk/block-store.ts';
import type { ImageFile } from '../sys/file.ts';
import { readOnly } from './filters/read-only.ts';

/** Serves `file`, which the store closes in the end. Read-only if the file was opened so. */
export function syncFile(file: ImageFile): BlockStore {
  const store = new SyncFile(file);
  return file.readOnly ? readOnly()(store) : store;
}

class SyncFile implements BlockStore {
  readonly name: string;
  readonly physicalBlockBytes: number;
  readonly #file: ImageFile;
  #sizeBytes: number;
  #lost: unknown;

  constructor(file: ImageFile) {
    this.name = file.name;
    this.physicalBlockBytes = file.physicalBlockBytes;
    this.#file = file;
    this.#sizeBytes = file.currentSize();
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  read(offset: number, into: Uint8Array): void {
    this.#file.readInto(offset, into);
  }

  readv(offset: number, into: readonly Uint8Array[]): void {
    this.#file.readv(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.#file.writeFrom(offset, from);
  }

  writev(offset: number, from: readonly Uint8Array[]): void {
    this.#file.writev(offset, from);
  }

  /** Once it failed it keeps failing: Linux forgets the pages it could not write, and would say yes the next time. */
  flush(): void {
    if (this.#lost !== undefined) throw this.#lost;
    try {
      this.#file.sync();
    } catch (error) {
      this.#lost = error;
      throw error;
    }
  }

  discard(offset: number, length: number): void {
    this.#file.discard(offset, length);
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): void {
    this.#file.zeroRange(offset, length, mayUnmap);
  }

  refreshSize(): number {
    this.#sizeBytes = this.#file.currentSize();
    return this.#sizeBytes;
  }

  close(): void {
    this.#file[Symbol.dispose]();
  }
}
