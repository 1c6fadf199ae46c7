// test/fuzz: guest memory for a fuzzer: guarded regions, and a shadow of each with the expected value of every byte.
import { GuardedMemory } from '../../src/testing/guarded-memory.ts';
import type { SeededRandom } from '../../src/testing/seeded-random.ts';
import type { MemoryRegion } from '../../src/virtio/guest-memory.ts';
import type { Range } from '../reference/split-walker.ts';

class ShadowedRegion implements MemoryRegion, Range {
  readonly address: number;
  readonly length: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly shadow: Uint8Array;

  constructor({ address, length }: Range) {
    this.address = address;
    this.length = length;
    this.bytes = new GuardedMemory(length).bytes;
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, length);
    this.shadow = new Uint8Array(length);
  }

  get guestAddress(): number {
    return this.address;
  }
}

/** The first two touch: a buffer may reach from one into the other. */
const REGIONS: readonly Range[] = [
  { address: 0x1000, length: 0x3000 },
  { address: 0x4000, length: 0x1000 },
  { address: 0xf_ffff_f000, length: 0x1000 },
];
const [, SECOND, THIRD] = REGIONS.map(({ address }) => address) as [number, number, number];

export class GuestImage {
  readonly regions: readonly ShadowedRegion[] = REGIONS.map((range) => new ShadowedRegion(range));

  /** New content that depends on nothing but `random`. */
  fill(random: SeededRandom): void {
    this.onWrite = () => {};
    for (const { bytes, shadow } of this.regions) {
      const byte = random.below(4) * 0x55;
      bytes.fill(byte);
      shadow.fill(byte);
    }
  }

  #at(address: number): ShadowedRegion {
    const index = address < SECOND ? 0 : address < THIRD ? 1 : 2;
    const region = this.regions[index] as ShadowedRegion;
    if (address < region.address || address >= region.address + region.length)
      throw new RangeError(`the fuzzer itself reached for 0x${address.toString(16)}`);
    return region;
  }

  slice(address: number, length: number): Uint8Array<ArrayBuffer> {
    const region = this.#at(address);
    return region.bytes.subarray(address - region.address, address - region.address + length);
  }

  read16(address: number): number {
    const region = this.#at(address);
    return region.view.getUint16(address - region.address, true);
  }

  /** May be unaligned, and may reach from one region into the next. */
  read32(address: number): number {
    const { address: start, length, view } = this.#at(address);
    const at = address - start;
    if (at + 4 > length) return this.read16(address) + this.read16(address + 2) * 0x1_0000;
    // Not getUint32: that one is watched.
    return view.getInt32(at, true) >>> 0;
  }

  /** Called with each range that the driver writes. */
  onWrite: (address: number, length: number) => void = () => {};

  /** A write by the driver: updates the shadow too. */
  write(address: number, source: Uint8Array): void {
    this.onWrite(address, source.length);
    const region = this.#at(address);
    const at = address - region.address;
    for (let i = 0; i < source.length; i++) region.bytes[at + i] = region.shadow[at + i] = source[i] as number;
  }

  write16(address: number, value: number): void {
    this.onWrite(address, 2);
    const region = this.#at(address);
    const at = address - region.address;
    region.view.setUint16(at, value, true);
    region.shadow[at] = value;
    region.shadow[at + 1] = value >> 8;
  }

  /** The device may have written here: copies the memory into the shadow. */
  accept({ address, length }: Range): void {
    for (let at = address; at < address + length; ) {
      const region = this.#at(at);
      const end = Math.min(address + length, region.address + region.length);
      const [from, to] = [at - region.address, end - region.address];
      region.shadow.set(region.bytes.subarray(from, to), from);
      at = end;
    }
  }

  /** The guest address of the first byte that changed and was not accepted. */
  firstTouched(): number | undefined {
    for (const { address, bytes, shadow } of this.regions) {
      if (Buffer.compare(bytes, shadow) === 0) continue;
      return address + bytes.findIndex((byte, i) => byte !== shadow[i]);
    }
    return undefined;
  }
}
