// Upper floor: guest memory as its driver sees it: one region, from which it takes buffers by guest address.
import type { MemoryRegion } from '../virtio/guest-memory.ts';

const SMALLEST = 16;

/**
 * Guest memory as its driver sees it: one region, from which buffers are taken by guest address, and given back.
 *
 * @example
 * const memory = new DriverMemory(new Uint8Array(1 << 20));
 * const address = memory.allocate(512);
 * memory.slice(address, 512).fill(7);
 */
export class DriverMemory implements MemoryRegion {
  /** All of it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where the guest sees its first byte. */
  readonly guestAddress: number;
  #next = 0;
  /** What was released, by its size. */
  readonly #released = new Map<number, number[]>();

  /** `bytes` may be anything: plain memory, or a mapping that a device in another process shares. */
  constructor(bytes: Uint8Array<ArrayBuffer>, guestAddress = 0) {
    this.bytes = bytes;
    this.guestAddress = guestAddress;
  }

  /** The guest address of `length` bytes that nobody else has, aligned to 16. Throws RangeError when there are none. */
  allocate(length: number): number {
    const bytes = roomFor(length);
    const again = this.#released.get(bytes)?.pop();
    if (again !== undefined) return again;
    const at = this.#next;
    if (at + bytes > this.bytes.length) throw new RangeError(`${length} bytes wanted, ${this.bytes.length - at} left`);
    this.#next += bytes;
    return this.guestAddress + at;
  }

  /** Gives back what `allocate(length)` gave. */
  release(address: number, length: number): void {
    const bytes = roomFor(length);
    const list = this.#released.get(bytes);
    if (list === undefined) this.#released.set(bytes, [address]);
    else list.push(address);
  }

  /** The bytes of [address, address + length). */
  slice(address: number, length: number): Uint8Array<ArrayBuffer> {
    const at = address - this.guestAddress;
    return this.bytes.subarray(at, at + length);
  }
}

/** Powers of two, so that what one length released serves another. */
function roomFor(length: number): number {
  return length === 0 ? 0 : Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(length)));
}
