// virtio: guest physical memory by guest address. An address is checked once here; accesses are then plain indexing.
import type { DirtyLog } from './dirty-log.ts';
import { DriverError } from './errors.ts';

/** A range of guest physical memory: `bytes` is what the guest sees from `guestAddress` on. */
export interface MemoryRegion {
  readonly guestAddress: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A region by its guest addresses, [start, end), and its bytes as a view. */
export interface MemorySlot {
  readonly start: number;
  readonly end: number;
  readonly view: DataView<ArrayBuffer>;
  /** `buffer` and `byteOffset` of the view: its accessors are calls, these are fields. */
  readonly buffer: ArrayBuffer;
  readonly byteOffset: number;
}

/** The guest memory that a device may access, as a set of regions. */
export class GuestMemory {
  /** Where written pages are marked while the guest is migrated. */
  dirty: DirtyLog | undefined;
  /** Sorted by address. Replaced when a region is added or removed. */
  #slots: readonly MemorySlot[] = [];
  #latest: MemorySlot | undefined;

  /** Regions may come in any order; they must not overlap. Throws RangeError. */
  constructor(regions: readonly MemoryRegion[] = []) {
    for (const region of regions) this.add(region);
  }

  /** Adds a region. Rings and requests in flight stay valid. Throws RangeError where it overlaps another. */
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

  /** Removes the region that begins at `guestAddress`. No ring and no request in flight may be in it. */
  remove(guestAddress: number): void {
    this.#slots = this.#slots.filter(({ start }) => start !== guestAddress);
    this.#latest = this.#slots[0];
  }

  /** The guest address of bytes that `slice` returned. */
  addressOf({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): number {
    const slot = this.#slots.find(
      (one) =>
        one.buffer === buffer &&
        byteOffset >= one.byteOffset &&
        byteOffset + length <= one.byteOffset + one.end - one.start,
    );
    if (slot === undefined) throw new RangeError('these bytes are not of guest memory');
    return slot.start + byteOffset - slot.byteOffset;
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

  /** A binary search: there may be hundreds of regions. */
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

  /**
   * The bytes of [address, address + length), shared with the guest. Throws DriverError when they are not in one
   * region.
   */
  slice(address: number, length: number): Uint8Array<ArrayBuffer> {
    const { start, buffer, byteOffset } = this.slotOf(address, length);
    return new Uint8Array(buffer, byteOffset + address - start, length);
  }
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
