// virtio: one direction of a request as a stream of bytes, whatever its descriptors (§2.7.4.1).
import type { DirtyLog } from './dirty-log.ts';
import type { GuestMemory, MemorySlot } from './guest-memory.ts';

/**
 * One direction of a request as a stream of bytes, however the driver split it into descriptors (§2.7.4.1). Offsets are
 * bytes from the start of the stream. Returned arrays are shared with the guest, which can change them at any time:
 * read each byte once.
 */
export class Segments {
  /** Bytes in the stream. */
  totalBytes = 0;
  /** Contiguous pieces of the stream, for `view`. */
  count = 0;
  readonly #slots: MemorySlot[] = [];
  readonly #offsets: number[] = [];
  readonly #lengths: number[] = [];
  /** The piece that `piece` used last, and the position in the stream at which it begins. */
  #at = 0;
  #start = 0;

  /** Empties the stream. For the queue, which reuses the object. */
  clear(): void {
    this.totalBytes = 0;
    this.count = 0;
    this.#at = this.#start = 0;
  }

  /** The largest number of pieces so far: the arrays keep room for them. */
  get capacity(): number {
    return this.#slots.length;
  }

  /** Appends [address, address + length) of guest memory; a buffer may span adjacent regions. Throws DriverError. */
  push(memory: GuestMemory, address: number, length: number): void {
    let from = address;
    for (let left = length; left > 0; ) {
      const slot = memory.slotAt(from);
      const piece = Math.min(left, slot.end - from);
      const at = this.count++;
      this.#slots[at] = slot;
      this.#offsets[at] = from - slot.start;
      this.#lengths[at] = piece;
      this.totalBytes += piece;
      from += piece;
      left -= piece;
    }
  }

  /** Bytes of piece `index`. */
  lengthOf(index: number): number {
    return this.#lengths[index] as number;
  }

  /** Piece `index` as bytes shared with the guest. */
  view(index: number): Uint8Array<ArrayBuffer> {
    const { buffer, byteOffset } = this.#slots[index] as MemorySlot;
    return new Uint8Array(buffer, byteOffset + (this.#offsets[index] as number), this.#lengths[index]);
  }

  /** All pieces, in order. */
  views(): Uint8Array<ArrayBuffer>[] {
    return Array.from({ length: this.count }, (_, i) => this.view(i));
  }

  /** Bytes [from, to) of the stream, shared with the guest, if they are in one piece; else undefined. */
  single(from: number, to: number): Uint8Array<ArrayBuffer> | undefined {
    let start = 0;
    for (let i = 0; i < this.count; i++) {
      const end = start + (this.#lengths[i] as number);
      if (from < end) {
        if (to > end) return undefined;
        const { buffer, byteOffset } = this.#slots[i] as MemorySlot;
        return new Uint8Array(buffer, byteOffset + (this.#offsets[i] as number) + from - start, to - from);
      }
      start = end;
    }
    return undefined;
  }

  /** The bytes from `from` on that are in one piece, up to `to`, shared with the guest. Fast for sequential reads. */
  piece(from: number, to: number): Uint8Array<ArrayBuffer> {
    if (from < this.#start) this.#at = this.#start = 0;
    while (from >= this.#start + (this.#lengths[this.#at] as number))
      this.#start += this.#lengths[this.#at++] as number;
    const { buffer, byteOffset } = this.#slots[this.#at] as MemorySlot;
    const end = Math.min(to, this.#start + (this.#lengths[this.#at] as number));
    return new Uint8Array(buffer, byteOffset + (this.#offsets[this.#at] as number) + from - this.#start, end - from);
  }

  /** Whether bytes [from, to) are split anywhere but at multiples of `unit` from `from` on. */
  isCut(from: number, to: number, unit: number): boolean {
    let start = 0;
    for (let i = 0; i < this.count && start < to; i++) {
      if (start > from && (start - from) % unit !== 0) return true;
      start += this.#lengths[i] as number;
    }
    return false;
  }

  /** Bytes [from, to) of the stream, shared with the guest, as a list of pieces. */
  range(from: number, to: number): Uint8Array<ArrayBuffer>[] {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    let start = 0;
    for (let i = 0; i < this.count && start < to; i++) {
      const end = start + (this.#lengths[i] as number);
      const first = Math.max(from, start);
      const length = Math.min(to, end) - first;
      const { buffer, byteOffset } = this.#slots[i] as MemorySlot;
      if (length > 0)
        pieces.push(new Uint8Array(buffer, byteOffset + (this.#offsets[i] as number) + first - start, length));
      start = end;
    }
    return pieces;
  }

  /** The le32 at byte `position`. The stream must have these 4 bytes. */
  uint32(position: number): number {
    // The usual case first: the word is wholly in the first piece.
    if (position + 4 <= (this.#lengths[0] as number)) {
      return (this.#slots[0] as MemorySlot).view.getUint32((this.#offsets[0] as number) + position, true);
    }
    let word = 0;
    for (let i = 3; i >= 0; i--) word = word * 256 + this.#byte(position + i);
    return word;
  }

  /** The le64 at byte `position`, as a number: exact up to 2^53. The stream must have these 8 bytes. */
  uint64(position: number): number {
    if (position + 8 > (this.#lengths[0] as number)) return this.uint32(position) + this.uint32(position + 4) * 2 ** 32;
    const { view } = this.#slots[0] as MemorySlot;
    const offset = (this.#offsets[0] as number) + position;
    return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
  }

  #byte(position: number): number {
    let at = 0;
    let left = position;
    while (left >= (this.#lengths[at] as number)) left -= this.#lengths[at++] as number;
    return (this.#slots[at] as MemorySlot).view.getUint8((this.#offsets[at] as number) + left);
  }

  /** Marks all its pages as written. */
  markDirty(log: DirtyLog): void {
    for (let i = 0; i < this.count; i++) {
      const address = (this.#slots[i] as MemorySlot).start + (this.#offsets[i] as number);
      log.mark(address, this.#lengths[i] as number);
    }
  }

  /** Writes the last byte of the stream, which must not be empty. */
  setLastByte(value: number): void {
    const at = this.count - 1;
    const offset = (this.#offsets[at] as number) + (this.#lengths[at] as number) - 1;
    (this.#slots[at] as MemorySlot).view.setUint8(offset, value);
  }

  /** Copies `source` to byte `position` of the stream, up to the end of either. Returns the number of bytes copied. */
  copyFrom(source: Uint8Array, position = 0): number {
    let done = 0;
    for (const piece of this.range(position, position + source.length)) {
      piece.set(source.subarray(done, done + piece.length));
      done += piece.length;
    }
    return done;
  }

  /**
   * Copies the stream from byte `position` on into `target`, up to the end of either. Returns the number of bytes
   * copied.
   */
  copyTo(target: Uint8Array, position = 0): number {
    let done = 0;
    for (const piece of this.range(position, position + target.length)) {
      target.set(piece, done);
      done += piece.length;
    }
    return done;
  }
}
