// Stores: which chunks of a mapped file are known to have memory behind them, shared by all threads that map it.
import type { ImageFile } from '../sys/file.ts';

const CHUNK_BYTES = 32 * 1024;
/** Room to grow by 2 TiB. Address space only, until it is used. */
const GROWTH_CHUNKS = 2 ** 26;

/** A chunk's byte: UNKNOWN may have holes, ALLOCATED has none. UNKNOWN is always a safe thing to say. */
const UNKNOWN = 0;
const ALLOCATED = 1;

export class AllocationMap {
  readonly chunkBytes: number;
  /** What another thread passes to the constructor to share this map. */
  readonly shared: SharedArrayBuffer;
  #sizeBytes: number;
  // Of fixed length: a view that follows a growable buffer is slower to index.
  #chunks: Uint8Array;

  /** The map of `file`: a new one, or the one that another thread shares. */
  constructor(file: ImageFile, shared?: SharedArrayBuffer) {
    const { kind, blockBytes } = file.fileSystem();
    this.chunkBytes = kind === 'hugetlbfs' ? Math.max(blockBytes, CHUNK_BYTES) : CHUNK_BYTES;
    this.#sizeBytes = file.currentSize();
    const count = Math.ceil(this.#sizeBytes / this.chunkBytes);
    this.shared = shared ?? new SharedArrayBuffer(count, { maxByteLength: count + GROWTH_CHUNKS });
    this.#chunks = new Uint8Array(this.shared, 0, count);
    if (shared !== undefined) return;
    if (kind === 'tmpfs') for (const { start, end } of file.dataExtents()) this.#fillWithin(start, end, ALLOCATED);
    // hugetlbfs does not tell where its holes are, only whether there are any.
    else if (!file.readOnly && file.allocatedBytes() >= this.#sizeBytes) this.allocate(file, 0, this.#sizeBytes);
  }

  /** True when no byte of [offset, offset + length) can lie in a hole. `length` is not 0. */
  covers(offset: number, length: number): boolean {
    const last = Math.floor((offset + length - 1) / this.chunkBytes);
    for (let i = Math.floor(offset / this.chunkBytes); i <= last; i++) if (this.#chunks[i] !== ALLOCATED) return false;
    return true;
  }

  /** Allocates the chunks around [offset, offset + length). Throws SystemError ENOSPC, not SIGBUS as a store would. */
  allocate(file: ImageFile, offset: number, length: number): void {
    const start = Math.floor(offset / this.chunkBytes) * this.chunkBytes;
    const end = Math.min(Math.ceil((offset + length) / this.chunkBytes) * this.chunkBytes, this.#sizeBytes);
    file.allocate(start, end - start);
    this.#fillWithin(start, end, ALLOCATED);
  }

  /** Gives back the whole chunks within [start, end), which then read as zeroes, and says which bytes those are. */
  release(file: ImageFile, start: number, end: number): { start: number; end: number } {
    const from = Math.ceil(start / this.chunkBytes) * this.chunkBytes;
    const to = end === this.#sizeBytes ? end : Math.floor(end / this.chunkBytes) * this.chunkBytes;
    if (to <= from || !file.punchHole(from, to - from)) return { start, end: start };
    this.#fillWithin(from, to, UNKNOWN);
    return { start: from, end: to };
  }

  /** Makes [start, end) of a mapping of the whole file read as zeroes; where it may, by giving chunks back. Throws SystemError. */
  zero(file: ImageFile, mapped: ArrayBuffer, start: number, end: number, mayUnmap: boolean): void {
    const released = mayUnmap ? this.release(file, start, end) : { start: end, end };
    for (const [from, to] of [
      [start, released.start],
      [released.end, end],
    ] as const) {
      if (from === to) continue;
      if (!this.covers(from, to - from)) this.allocate(file, from, to - from);
      new Uint8Array(mapped, from, to - from).fill(0);
    }
  }

  /** Follows the file to a new size: what lies beyond the smaller of both is not known. */
  resize(sizeBytes: number): void {
    const count = Math.ceil(sizeBytes / this.chunkBytes);
    this.#chunks.fill(UNKNOWN, Math.floor(Math.min(this.#sizeBytes, sizeBytes) / this.chunkBytes));
    if (count > this.shared.byteLength) this.shared.grow(Math.min(count, this.shared.maxByteLength));
    // Beyond the room to grow every chunk is unknown: slower, never wrong.
    this.#chunks = new Uint8Array(this.shared, 0, Math.min(count, this.shared.byteLength));
    this.#sizeBytes = sizeBytes;
  }

  #fillWithin(start: number, end: number, state: number): void {
    const last = end === this.#sizeBytes ? Math.ceil(end / this.chunkBytes) : Math.floor(end / this.chunkBytes);
    this.#chunks.fill(state, Math.ceil(start / this.chunkBytes), last);
  }
}
