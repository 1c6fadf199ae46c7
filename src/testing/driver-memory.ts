// testing: guest memory as its driver sees it: one region, and an allocator of buffers in it.
import type { MemoryRegion } from '../virtio/guest-memory.ts';

const SMALLEST = 16;

/**
 * Guest memory as its driver sees it: one region, in which buffers are allocated by guest address, and released.
 *
 * @example
 * const memory = new DriverMemory(new Uint8Array(1 << 20));
 * const address = memory.allocate(512);
 * memory.slice(address, 512).fill(7);
 */
export class DriverMemory implements MemoryRegion {
  /** The whole region. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Guest address of the first byte. */
  readonly guestAddress: number;
  #next = 0;
  /** Released addresses by size. */
  readonly #released = new Map<number, number[]>();

  /** @param bytes plain memory, or a mapping that a device in another process shares. */
  constructor(bytes: Uint8Array<ArrayBuffer>, guestAddress = 0) {
    this.bytes = bytes;
    this.guestAddress = guestAddress;
  }

  /** Allocates `length` bytes, aligned to 16; returns their guest address. Throws RangeError when memory is full. */
  allocate(length: number): number {
    const bytes = roomFor(length);
    const again = this.#released.get(bytes)?.pop();
    if (again !== undefined) return again;
    const at = this.#next;
    if (at + bytes > this.bytes.length) throw new RangeError(`${length} bytes wanted, ${this.bytes.length - at} left`);
    this.#next += bytes;
    return this.guestAddress + at;
  }

  /** Releases what `allocate(length)` returned. */
  release(address: number, length: number): void {
    const bytes = roomFor(length);
    const list = this.#released.get(bytes);
    if (list === undefined) this.#released.set(bytes, [address]);
    else list.push(address);
  }

  /** Returns the bytes of [address, address + length). */
  slice(address: number, length: number): Uint8Array<ArrayBuffer> {
    const at = address - this.guestAddress;
    return this.bytes.subarray(at, at + length);
  }
}

/** Rounds up to a power of two, so that released memory can be used for other lengths. */
function roomFor(length: number): number {
  return length === 0 ? 0 : Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(length)));
}
