// stores: any file or block device, with one system call for a request: the base of what overlaps them.
import type { BlockStore, MaybePromise } from '../devices/blk/block-store.ts';
import type { ImageFile } from '../sys/file.ts';
import { SystemError } from '../sys/libc.ts';

const SECTOR_BYTES = 512;

/**
 * Whether a flush of a file failed, in a word that the stores of all threads share. Linux reports a failure once for an
 * open file, so one thread alone gets it.
 */
export type FlushState = Int32Array<SharedArrayBuffer>;

/** For a file that was not flushed yet. */
export function newFlushState(): FlushState {
  return new Int32Array(new SharedArrayBuffer(4));
}

/** A store whose requests are synchronous. */
export class SyncFile implements BlockStore {
  readonly name: string;
  readonly physicalBlockBytes: number;
  protected readonly file: ImageFile;
  #sizeBytes: number;
  /** The error of the first flush that failed on this thread. */
  #failedFlush: unknown;
  readonly #flushState: FlushState;

  constructor(file: ImageFile, state = newFlushState()) {
    this.name = file.name;
    this.physicalBlockBytes = file.physicalBlockBytes;
    this.file = file;
    this.#flushState = state;
    this.#sizeBytes = file.currentSize();
  }

  /** Of direct I/O; the page cache takes whole sectors, whatever is below it. */
  get alignment(): number {
    return this.file.direct?.blocks ?? SECTOR_BYTES;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  read(offset: number, into: Uint8Array, _signal?: AbortSignal): MaybePromise<void> {
    this.file.readInto(offset, into);
  }

  readv(offset: number, into: readonly Uint8Array[], _signal?: AbortSignal): MaybePromise<void> {
    this.file.readv(offset, into);
  }

  write(offset: number, from: Uint8Array, _signal?: AbortSignal): MaybePromise<void> {
    this.file.writeFrom(offset, from);
  }

  writev(offset: number, from: readonly Uint8Array[], _signal?: AbortSignal): MaybePromise<void> {
    this.file.writev(offset, from);
  }

  /**
   * After one failure every flush fails: Linux drops the pages that it could not write, and the next fdatasync(2)
   * returns 0.
   */
  flush(): MaybePromise<void> {
    this.throwIfFlushFailed();
    try {
      this.file.sync();
    } catch (error) {
      this.#flushFailed(error);
    }
    this.throwIfFlushFailed();
  }

  #flushFailed(error: unknown): void {
    this.#failedFlush ??= error;
    Atomics.store(this.#flushState, 0, 1);
  }

  protected throwIfFlushFailed(): void {
    if (this.#failedFlush !== undefined) throw this.#failedFlush;
    if (Atomics.load(this.#flushState, 0) !== 0)
      throw new SystemError('fdatasync', 'EIO', `a flush of ${this.name} failed on another thread`);
  }

  /** As `flush`, for a flush that ends later. */
  protected async keepFailure(flushed: PromiseLike<void>): Promise<void> {
    try {
      await flushed;
    } catch (error) {
      this.#flushFailed(error);
    }
    this.throwIfFlushFailed();
  }

  discard(offset: number, length: number): MaybePromise<void> {
    this.file.discard(offset, length);
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): MaybePromise<void> {
    this.file.zeroRange(offset, length, mayUnmap);
  }

  refreshSize(): number {
    this.#sizeBytes = this.file.currentSize();
    return this.#sizeBytes;
  }

  close(): MaybePromise<void> {
    this.file[Symbol.dispose]();
  }
}
