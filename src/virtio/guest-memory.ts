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
  readonly #slots: readonly MemorySlot[];
  #latest: MemorySlot | undefined;

  /** Regions may come in any order; they must not overlap. Throws RangeError. */
  constructor(regions: readonly MemoryRegion[]) {
    this.#slots = regions
      .map(({ guestAddress, bytes }) => ({
        start: guestAddress,
        end: guestAddress + bytes.length,
        view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
        buffer: bytes.buffer,
        byteOffset: bytes.byteOffset,
      }))
      .sort((a, b) => a.start - b.start);
    this.#slots.forEach((slot, i) => {
      const next = this.#slots[i + 1];
      if (next !== undefined && next.start < slot.end)
        throw new RangeError(`memory regions overlap at ${hex(next.start)}`);
    });
    this.#latest = this.#slots[0];
  }

  /** The slot that holds `address`. Throws DriverError when none does. */
  slotAt(address: number): MemorySlot {
    const latest = this.#latest;
    if (latest !== undefined && address >= latest.start && address < latest.end) return latest;
    for (const slot of this.#slots) {
      if (address >= slot.start && address < slot.end) {
        this.#latest = slot;
        return slot;
      }
    }
    throw new DriverError('§2.7.5', `the driver points to ${hex(address)}, which is not its memory`);
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
