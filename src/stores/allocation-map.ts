// stores: which chunks of a mapped file are known to have no hole, shared by all threads that map it.
import type { Extent, ImageFile } from '../sys/file.ts';
import { CopyGuard } from './copy-guard.ts';

const CHUNK_BYTES = 32 * 1024;
/** Room to grow by 2 TiB. Address space only, until it is used. */
const GROWTH_CHUNKS = 2 ** 26;
/** Bytes that are punched, or filled with zeroes, at a time. It bounds how long other threads wait. */
const PUNCH_BYTES = 64 * 1024 * 1024;
const FILL_BYTES = 4 * 1024 * 1024;
/** How long one `release` waits for other threads, in all. */
const WAIT_MS = 100;

/** States of a chunk. UNKNOWN may have holes, so that state is always safe; ALLOCATED has none. */
const UNKNOWN = 0;
const ALLOCATED = 1;
/** The chunk is being punched. Only the thread that holds the guard's lock sets and clears this state. */
const PUNCHING = 2;

/** A map as a plain value: post it to another thread of this process, and pass it to the constructor there. */
export interface SharedAllocationMap {
  /** The state of each chunk, one byte. */
  readonly chunks: SharedArrayBuffer;
  /** `CopyGuard.shared`. */
  readonly guard: SharedArrayBuffer;
}

/** Which chunks of a mapped file have no hole, so that a store into them cannot raise SIGBUS. */
export class AllocationMap {
  /** The size of a chunk: 32 KiB, on hugetlbfs at least a huge page. */
  readonly chunkBytes: number;
  readonly #file: ImageFile;
  readonly #states: SharedArrayBuffer;
  /** Undefined while only one thread uses the map. */
  #guard: CopyGuard | undefined;
  #sizeBytes: number;
  // Of fixed length: a view that follows a growable buffer is slower to index.
  #chunks: Uint8Array;

  /** Creates the map of `file`, or uses the one that another thread shares. Throws SystemError. */
  constructor(file: ImageFile, shared?: SharedAllocationMap) {
    this.#file = file;
    const { kind, blockBytes } = file.fileSystem();
    this.chunkBytes = kind === 'hugetlbfs' ? Math.max(blockBytes, CHUNK_BYTES) : CHUNK_BYTES;
    this.#sizeBytes = file.currentSize();
    const count = Math.ceil(this.#sizeBytes / this.chunkBytes);
    this.#states = shared?.chunks ?? new SharedArrayBuffer(count, { maxByteLength: count + GROWTH_CHUNKS });
    this.#chunks = viewOf(this.#states, count);
    if (shared !== undefined) this.#guard = new CopyGuard(shared.guard);
    else if (kind === 'tmpfs') for (const { start, end } of file.dataExtents()) this.#setAllocated(start, end);
    // hugetlbfs does not report where its holes are, only whether there are any.
    else if (!file.readOnly && file.allocatedBytes() >= this.#sizeBytes) this.allocate(0, this.#sizeBytes);
  }

  /**
   * Prepares the map for use by other threads: from now on it uses a CopyGuard. Returns what their constructors take.
   */
  share(): SharedAllocationMap {
    if (this.#guard === undefined) {
      this.#guard = new CopyGuard();
      // A thread that does not know of a new size yet would take a part of this chunk for the whole chunk.
      if (this.#sizeBytes % this.chunkBytes !== 0)
        this.#chunks[Math.floor(this.#sizeBytes / this.chunkBytes)] = UNKNOWN;
    }
    return { chunks: this.#states, guard: this.#guard.shared };
  }

  /**
   * Between `begin` and `end` a true result of `covers` or `allocate` stays valid: no other thread punches a hole
   * there. Keep this time short, always call `end`, and do not call `release` or `zero` meanwhile.
   */
  begin(): void {
    this.#guard?.begin();
  }

  /** Ends what `begin` began. */
  end(): void {
    this.#guard?.end();
  }

  /** Returns true when no byte of [offset, offset + length) can be in a hole. `length` is not 0. */
  covers(offset: number, length: number): boolean {
    const last = Math.floor((offset + length - 1) / this.chunkBytes);
    for (let i = Math.floor(offset / this.chunkBytes); i <= last; i++) if (this.#chunks[i] !== ALLOCATED) return false;
    return true;
  }

  /**
   * Allocates the chunks around [offset, offset + length), so that no byte of it is in a hole. Throws SystemError
   * ENOSPC. Returns false without doing anything where another thread is punching one of the chunks: use pwrite(2)
   * then.
   */
  allocate(offset: number, length: number): boolean {
    const first = Math.floor(offset / this.chunkBytes);
    const behind = Math.ceil((offset + length) / this.chunkBytes);
    // undefined: beyond GROWTH_CHUNKS.
    for (let i = first; i < behind; i++) if (this.#chunks[i] !== UNKNOWN && this.#chunks[i] !== ALLOCATED) return false;
    const start = first * this.chunkBytes;
    const end = Math.min(behind * this.chunkBytes, this.#sizeBytes);
    this.#file.allocate(start, end - start);
    this.#setAllocated(start, end);
    return true;
  }

  /**
   * Punches the whole chunks within [start, end), which then read as zeroes. Returns the range that was punched: a
   * smaller one or an empty one where another thread copies or punches for longer than WAIT_MS. Throws SystemError.
   */
  release(start: number, end: number): Extent {
    const from = Math.ceil(start / this.chunkBytes) * this.chunkBytes;
    const to = end === this.#sizeBytes ? end : Math.floor(end / this.chunkBytes) * this.chunkBytes;
    const deadlineMs = performance.now() + WAIT_MS;
    let done = from;
    while (done < to) {
      const next = Math.min(done + Math.max(PUNCH_BYTES, this.chunkBytes), to);
      if (!this.#punch(done, next, deadlineMs)) break;
      done = next;
    }
    return done > from ? { start: from, end: done } : { start, end: start };
  }

  #punch(start: number, end: number, deadlineMs: number): boolean {
    const guard = this.#guard;
    if (guard?.lock(deadlineMs) === false) return false;
    try {
      this.#setAll(start, end, PUNCHING);
      return (guard?.othersEnded(deadlineMs) ?? true) && this.#file.punchHole(start, end - start);
    } finally {
      this.#setAll(start, end, UNKNOWN);
      guard?.unlock();
    }
  }

  /**
   * Makes [start, end) of a mapping of the whole file read as zeroes; `mayUnmap` allows punching chunks. Throws
   * SystemError.
   */
  zero(mapped: ArrayBuffer, start: number, end: number, mayUnmap: boolean): void {
    const released = mayUnmap ? this.release(start, end) : { start: end, end };
    this.#fill(mapped, start, released.start);
    this.#fill(mapped, released.end, end);
  }

  #fill(mapped: ArrayBuffer, start: number, end: number): void {
    for (let at = start; at < end; at += FILL_BYTES) {
      const length = Math.min(FILL_BYTES, end - at);
      this.begin();
      try {
        if (this.covers(at, length) || this.allocate(at, length)) new Uint8Array(mapped, at, length).fill(0);
        else this.#file.zeroRange(at, length, false);
      } finally {
        this.end();
      }
    }
  }

  /** Changes the size of the map to that of the file. Chunks beyond the smaller size become UNKNOWN. */
  resize(sizeBytes: number): void {
    const first = Math.floor(Math.min(this.#sizeBytes, sizeBytes) / this.chunkBytes);
    for (let i = first; i < this.#chunks.length; i++) Atomics.compareExchange(this.#chunks, i, ALLOCATED, UNKNOWN);
    this.#chunks = viewOf(this.#states, Math.ceil(sizeBytes / this.chunkBytes));
    this.#sizeBytes = sizeBytes;
  }

  /** Frees the guard of this thread. The maps of other threads stay valid. */
  close(): void {
    this.#guard?.close();
  }

  #setAllocated(start: number, end: number): void {
    const first = Math.ceil(start / this.chunkBytes);
    const isAlone = this.#guard === undefined;
    const isLastWhole = isAlone && end === this.#sizeBytes;
    const behind = isLastWhole ? Math.ceil(end / this.chunkBytes) : Math.floor(end / this.chunkBytes);
    if (isAlone) this.#chunks.fill(ALLOCATED, first, behind);
    else for (let i = first; i < behind; i++) Atomics.compareExchange(this.#chunks, i, UNKNOWN, ALLOCATED);
  }

  /** Sets the state of the chunks from `start`, a multiple of `chunkBytes`, to `end`. */
  #setAll(start: number, end: number, state: number): void {
    const behind = Math.min(Math.ceil(end / this.chunkBytes), this.#chunks.length);
    for (let i = start / this.chunkBytes; i < behind; i++) Atomics.store(this.#chunks, i, state);
  }
}

/** A view of the states of `count` chunks, or of as many as there is room for. */
function viewOf(states: SharedArrayBuffer, count: number): Uint8Array {
  const room = Math.min(count, states.maxByteLength);
  try {
    if (room > states.byteLength) states.grow(room);
  } catch (error) {
    // Another thread may have grown it further meanwhile.
    if (room > states.byteLength) throw error;
  }
  return new Uint8Array(states, 0, room);
}
