// Upper floor: guest memory as its driver sees it: one region, from which it takes buffers by guest address.
import type { MemoryRegion } from '../virtio/guest-memory.ts';

const GRANULE = 16;

export class DriverMemory implements MemoryRegion {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly guestAddress: number;
  #next = 0;
  /** What was released, by its size in granules. */
  readonly #released = new Map<number, number[]>();

  /** `bytes` may be anything: plain memory, or a mapping that a device in another process shares. */
  constructor(bytes: Uint8Array<ArrayBuffer>, guestAddress = 0) {
    this.bytes = bytes;
    this.guestAddress = guestAddress;
  }

  /** The guest address of `length` bytes that nobody else has, aligned to 16. Throws RangeError when the memory is used up. */
  allocate(length: number): number {
    const granules = Math.ceil(length / GRANULE);
    const again = this.#released.get(granules)?.pop();
    if (again !== undefined) return again;
    const at = this.#next;
    if (at + granules * GRANULE > this.bytes.length)
      throw new RangeError(`${length} bytes wanted, ${this.bytes.length - at} left`);
    this.#next += granules * GRANULE;
    return this.guestAddress + at;
  }

  /** Gives back what `allocate(length)` gave. */
  release(address: number, length: number): void {
    const granules = Math.ceil(length / GRANULE);
    const list = this.#released.get(granules);
    if (list === undefined) this.#released.set(granules, [address]);
    else list.push(address);
  }

  /** The bytes of [address, address + length). */
  slice(address: number, length: number): Uint8Array<ArrayBuffer> {
    const at = address - this.guestAddress;
    return this.bytes.subarray(at, at + length);
  }
}
