// Cellar: one direction of a request as a stream of bytes, however the driver cut it up (§2.7.4.1). Nobody else sees a boundary.
import type { GuestMemory, MemorySlot } from './guest-memory.ts';

export class Segments {
  /** Bytes in the stream. */
  totalBytes = 0;
  /** Contiguous pieces in the stream; `view(i)` gives each. */
  count = 0;
  readonly #slots: MemorySlot[] = [];
  readonly #offsets: number[] = [];
  readonly #lengths: number[] = [];
  #first = 0;
  #lastSlot: MemorySlot | undefined;
  #lastOffset = 0;

  clear(): void {
    this.totalBytes = 0;
    this.count = 0;
    this.#first = 0;
    this.#lastSlot = undefined;
  }

  /** Appends [address, address + length) of guest memory; a buffer may span adjacent regions. Throws DriverError. */
  push(memory: GuestMemory, address: number, length: number): void {
    let from = address;
    for (let left = length; left > 0; ) {
      const slot = memory.slotAt(from);
      const piece = Math.min(left, slot.end - from);
      const at = this.#first + this.count++;
      this.#slots[at] = slot;
      this.#offsets[at] = from - slot.start;
      this.#lengths[at] = piece;
      this.totalBytes += piece;
      from += piece;
      left -= piece;
    }
  }

  /** Piece `index` as bytes shared with the guest: the one allocation of the hot path. */
  view(index: number): Uint8Array<ArrayBuffer> {
    const at = this.#first + index;
    const { buffer, byteOffset } = this.#slots[at] as MemorySlot;
    return new Uint8Array(buffer, byteOffset + (this.#offsets[at] as number), this.#lengths[at]);
  }

  /** All pieces, in order. */
  views(): Uint8Array<ArrayBuffer>[] {
    return Array.from({ length: this.count }, (_, i) => this.view(i));
  }

  /** The le32 at byte `position` of the stream. */
  uint32(position: number): number {
    const at = this.#first;
    // The usual case first: the word lies whole in the first piece.
    if (position + 4 <= (this.#lengths[at] as number)) {
      return (this.#slots[at] as MemorySlot).view.getUint32((this.#offsets[at] as number) + position, true);
    }
    let word = 0;
    for (let i = 3; i >= 0; i--) word = word * 256 + this.#byte(position + i);
    return word;
  }

  /** The le64 at byte `position` of the stream, as near as a number comes to it: exact up to 2^53. */
  uint64(position: number): number {
    const at = this.#first;
    if (position + 8 > (this.#lengths[at] as number))
      return this.uint32(position) + this.uint32(position + 4) * 2 ** 32;
    const { view } = this.#slots[at] as MemorySlot;
    const offset = (this.#offsets[at] as number) + position;
    return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
  }

  #byte(position: number): number {
    let at = this.#first;
    let left = position;
    while (left >= (this.#lengths[at] as number)) left -= this.#lengths[at++] as number;
    return (this.#slots[at] as MemorySlot).view.getUint8((this.#offsets[at] as number) + left);
  }

  /** Takes `length` bytes off the front. The stream must have them. */
  dropFront(length: number): void {
    this.totalBytes -= length;
    for (let left = length; left > 0; ) {
      const at = this.#first;
      const piece = this.#lengths[at] as number;
      if (piece > left) {
        this.#offsets[at] = (this.#offsets[at] as number) + left;
        this.#lengths[at] = piece - left;
        return;
      }
      left -= piece;
      this.#first++;
      this.count--;
    }
  }

  /** Takes the last byte off the stream and keeps its place for `putLast`. The stream must have one. */
  reserveLast(): void {
    const at = this.#first + this.count - 1;
    const piece = (this.#lengths[at] as number) - 1;
    this.#lengths[at] = piece;
    this.#lastSlot = this.#slots[at];
    this.#lastOffset = (this.#offsets[at] as number) + piece;
    this.totalBytes--;
    if (piece === 0) this.count--;
  }

  /** Writes the byte that `reserveLast` took off. */
  putLast(value: number): void {
    this.#lastSlot?.view.setUint8(this.#lastOffset, value);
  }

  /** Writes `source` at the front of the stream, as far as either reaches; gives how many bytes that was. */
  copyFrom(source: Uint8Array): number {
    let done = 0;
    for (let i = 0; i < this.count && done < source.length; i++) {
      const into = this.view(i);
      const piece = source.subarray(done, done + into.length);
      into.set(piece);
      done += piece.length;
    }
    return done;
  }
}
