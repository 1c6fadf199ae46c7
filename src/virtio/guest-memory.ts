// Cellar: guest physical memory as the driver addresses it. An address is checked here once, then it is plain indexing.
import { DriverError } from './errors.ts';

/** A stretch of guest physical memory: `bytes` is what the guest sees from `guestAddress` on. */
export interface MemoryRegion {
  readonly guestAddress: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A region ready for use: [start, end) in guest addresses, and its bytes as a view. */
export interface MemorySlot {
  readonly start: number;
  readonly end: number;
  readonly view: DataView<ArrayBuffer>;
  /** Those of the view: its own accessors are calls, these are fields. */
  readonly buffer: ArrayBuffer;
  readonly byteOffset: number;
}

export class GuestMemory {
  /** By address. Replaced when a region comes or goes. */
  #slots: readonly MemorySlot[] = [];
  #latest: MemorySlot | undefined;

  /** Regions may come in any order; they must not overlap. Throws RangeError. */
  constructor(regions: readonly MemoryRegion[] = []) {
    for (const region of regions) this.add(region);
  }

  /** Adds a region; rings and requests that are under way are not disturbed. Throws RangeError where it overlaps another. */
  add({ guestAddress, bytes }: MemoryRegion): void {
    const slot = {
      start: guestAddress,
      end: guestAddress + bytes.length,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
      buffer: bytes.buffer,
      byteOffset: bytes.byteOffset,
    };
    if (!Number.isSafeInteger(slot.end)) throw new RangeError(`a memory region ends beyond 2^53: at ${hex(slot.end)}`);
    const at = this.#firstEndingAfter(slot.start);
    const next = this.#slots[at];
    if (next !== undefined && next.start < slot.end)
      throw new RangeError(`memory regions overlap at ${hex(Math.max(next.start, slot.start))}`);
    this.#slots = this.#slots.toSpliced(at, 0, slot);
    this.#latest = slot;
  }

  /** Takes the region that begins at `guestAddress` away. Nothing under way may lie in it. */
  remove(guestAddress: number): void {
    this.#slots = this.#slots.filter(({ start }) => start !== guestAddress);
    this.#latest = this.#slots[0];
  }

  /** The slot that holds `address`. Throws DriverError when none does. */
  slotAt(address: number): MemorySlot {
    const latest = this.#latest;
    if (latest !== undefined && address >= latest.start && address < latest.end) return latest;
    const slot = this.#slots[this.#firstEndingAfter(address)];
    if (slot === undefined || address < slot.start)
      throw new DriverError('§2.7.5', `the driver points to ${hex(address)}, which is not its memory`);
    this.#latest = slot;
    return slot;
  }

  /** By halves: there may be hundreds of regions. */
  #firstEndingAfter(address: number): number {
    let low = 0;
    for (let high = this.#slots.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((this.#slots[middle] as MemorySlot).end <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The slot that holds all of [address, address + length). Throws DriverError when none does. */
  slotOf(address: number, length: number): MemorySlot {
    const slot = this.slotAt(address);
    if (address + length > slot.end)
      throw new DriverError('§2.7.5', `${length} bytes at ${hex(address)} run out of the driver's memory`);
    return slot;
  }

  /** The bytes of [address, address + length), shared with the guest. Throws DriverError when they do not lie in one region. */
  slice(address: number, length: number): Uint8Array<ArrayBuffer> {
    const { start, buffer, byteOffset } = this.slotOf(address, length);
    return new Uint8Array(buffer, byteOffset + address - start, length);
  }
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
