// test/fuzz: a driver that breaks rules at random: rings, descriptors, indices, headers, at any time.
import type { SeededRandom } from '../../src/testing/seeded-random.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../src/virtio/spec.ts';
import { splitQueueBytes } from '../../src/virtio/split/split-format.ts';
import type { GuestImage } from './guest-image.ts';
import type { HostileRing } from './spied-queue.ts';

const RING_AT = 0x1000;
const RING_END = 0x4000;
/** Where buffers usually are: the end of the first region, the second that touches it, the third far away. */
const BUFFERS_AT = 0x3800;
const LENGTHS = [0, 1, 2, 15, 16, 17, 20, 21, 31, 32, 33, 100, 511, 512, 513, 528, 1024, 1025, 2048, 4096];
const HUGE = [0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];
const FAR = [0, 0xfff, 0x5000, 0xf_ffff_ffff, 0x10_0000_0000, 2 ** 53 - 1, 2 ** 53, 2 ** 63, 2 ** 64 - 4096];
const EDGES = [0x1000, 0x3fff, 0x4000, 0x4fff, 0xf_ffff_f000, 0xf_ffff_ffff];
const TYPES = [0, 0, 0, 1, 1, 4, 8, 11, 13, 13, 14, 0x8000_0000];
const SECTORS = [0, 0, 1, 2, 7, 30, 31, 32, 33, 2 ** 31, 2 ** 32, 2 ** 44, 2 ** 55, 2 ** 63];

export class HostileDriver {
  readonly ring: HostileRing;
  readonly #image: GuestImage;
  readonly #random: SeededRandom;
  /** It breaks a rule in one of this many decisions. */
  readonly #manners: number;
  readonly #words = new Uint32Array(4);
  readonly #wordBytes = new Uint8Array(this.#words.buffer);
  #availableIndex: number;

  constructor(image: GuestImage, random: SeededRandom) {
    this.#image = image;
    this.#random = random;
    this.#manners = random.of([4, 32, 256, 1024, 4096, 4096]);
    this.ring = this.#placeRing();
    this.#availableIndex = this.ring.base;
    image.write16(this.ring.available + 2, this.ring.base);
    image.write16(this.ring.used + 2, random.oneIn(8) ? random.uint32() : this.ring.base);
    for (let i = 0; i < Math.min(this.ring.size, 64); i++) this.#writeDescriptorAt(i);
  }

  #placeRing(): HostileRing {
    const random = this.#random;
    const size = 2 ** random.below(9);
    const bytes = splitQueueBytes(size);
    const tangled = random.oneIn(16);
    const somewhere = (length: number, alignment: number): number =>
      RING_AT + alignment * random.below(Math.floor((RING_END - RING_AT - length) / alignment) + 1);
    // One after the other, or all against the end of the region.
    const start = random.flip() ? RING_AT : 16 * Math.floor((RING_END - ringBytes(size)) / 16);
    const table = tangled ? somewhere(bytes.descriptorArea, 16) : start;
    const used = tangled ? somewhere(bytes.deviceArea, 4) : start + bytes.descriptorArea;
    const available = tangled ? somewhere(bytes.driverArea, 2) : used + bytes.deviceArea;
    const features = (random.oneIn(4) ? 0n : VIRTIO_F_INDIRECT_DESC) | (random.flip() ? VIRTIO_F_EVENT_IDX : 0n);
    const base = random.of([0, 0x7fff, 0x8000, 0xfff0, 0xffff, random.below(0x1_0000)]);
    return { size, features, base, table, available, used, tangled };
  }

  #misbehaves(): boolean {
    return this.#random.oneIn(this.#manners);
  }

  #address(length: number): number {
    const random = this.#random;
    if (this.#misbehaves()) {
      const near = random.below(9) - 4;
      return Math.max(0, random.of([...FAR, ...EDGES, RING_AT + random.below(RING_END - RING_AT)]) + near);
    }
    // Against the end of a region, across the seam of two, or anywhere.
    if (random.oneIn(8)) return random.of([0x5000, 0x10_0000_0000]) - Math.min(length, 0x1000);
    if (random.oneIn(8)) return 0x4000 - random.below(Math.min(length + 1, 0x800));
    return BUFFERS_AT + random.below(0x5000 - BUFFERS_AT - Math.min(length, 0x1000) + 1);
  }

  /** Fills one descriptor of a table. If the driver behaves, every four make a chain: header, data, data, status. */
  #writeDescriptor(table: number, index: number, entries: number, isInner: boolean): void {
    const random = this.#random;
    const place = index % 4;
    const isLast = place === 3 || index + 1 === entries;
    const length = this.#misbehaves() ? random.of(HUGE) : this.#length(place);
    const address = this.#address(length);
    if (place === 0 || random.oneIn(4)) this.#writeHeader(address);
    const isTable = isInner ? this.#misbehaves() : random.oneIn(8);
    let flags = (place < 2 ? 0 : VIRTQ_DESC_F_WRITE) | (isLast || random.oneIn(8) ? 0 : VIRTQ_DESC_F_NEXT);
    if (isTable) flags = VIRTQ_DESC_F_INDIRECT | (random.flip() ? VIRTQ_DESC_F_WRITE : 0);
    if (this.#misbehaves()) flags = random.uint32();
    const next = this.#misbehaves() ? random.below(0x1_0000) : index + (place === 0 && random.flip() ? 2 : 1);
    const where = isTable && !this.#misbehaves() ? this.#writeTable() : { address, length };
    this.#put(table + 16 * index, where.address, where.length, flags, Math.min(next, entries));
  }

  #length(place: number): number {
    const random = this.#random;
    if (random.oneIn(4)) return random.of(LENGTHS);
    return place === 0 ? 16 : place === 3 ? 1 : 512 * random.below(4);
  }

  #writeDescriptorAt(index: number): void {
    this.#writeDescriptor(this.ring.table, index, this.ring.size, false);
  }

  #writeTable(): { address: number; length: number } {
    const random = this.#random;
    const entries = 1 + random.below(5);
    const address = 0x4000 + random.below(0x1000 - 16 * entries);
    for (let i = 0; i < entries; i++) this.#writeDescriptor(address, i, entries, true);
    return { address, length: this.#misbehaves() ? random.below(64) : 16 * entries };
  }

  #put(at: number, address: number, length: number, flags: number, next: number): void {
    this.#words[0] = address;
    this.#words[1] = Math.floor(address / 2 ** 32);
    this.#words[2] = length;
    this.#words[3] = (flags & 0xffff) | (next << 16);
    this.#image.write(at, this.#wordBytes);
  }

  /** A request header, and the range of a discard after it, where there is room. */
  #writeHeader(address: number): void {
    const random = this.#random;
    const isInside = this.#image.regions.some(
      (region) => address >= region.address && address + 32 <= region.address + region.length,
    );
    if (!isInside) return;
    // struct virtio_blk_req and its range have their 64-bit and 32-bit words where a descriptor has some.
    const sector = random.of(SECTORS);
    const high = Math.floor(sector / 2 ** 32);
    this.#put(address, random.of(TYPES), sector % 2 ** 32, high & 0xffff, high >>> 16);
    this.#put(address + 16, random.of(SECTORS), random.below(40), random.below(3), 0);
  }

  /** Makes some requests. `room`: how many it may, if it behaves. */
  makeAvailable(room: number): void {
    const random = this.#random;
    const { size, available } = this.ring;
    const count = Math.min(room, 1 + random.below(Math.min(size, 40)));
    for (let i = 0; i < count; i++) {
      const head = this.#misbehaves() ? random.below(0x1_0000) : random.below(Math.min(size, 64)) & random.of([~3, ~0]);
      if (random.flip()) this.#writeDescriptorAt(head % size);
      this.#image.write16(available + 4 + 2 * ((this.#availableIndex + i) & (size - 1)), head);
    }
    this.#availableIndex = (this.#availableIndex + count) & 0xffff;
    this.#expose();
    // used_event or flags, as they come.
    if (random.oneIn(4)) this.#image.write16(available + 4 + 2 * size, random.uint32());
    if (random.oneIn(4)) this.#image.write16(available, random.below(3));
  }

  #expose(): void {
    const index = this.#misbehaves() && this.#random.oneIn(8) ? this.#random.uint32() : this.#availableIndex;
    this.#image.write16(this.ring.available + 2, index);
  }

  /** Resets the ring; it starts at `base`, where the device stopped. */
  reset(base: number): void {
    this.#availableIndex = base;
    this.#image.write16(this.ring.available + 2, base);
  }

  /** Changes something in the middle of a drain. */
  meddle(): void {
    const random = this.#random;
    const { size, available } = this.ring;
    switch (random.below(5)) {
      case 0:
        return this.#writeDescriptorAt(random.below(size));
      case 1:
        return this.#image.write16(available + 4 + 2 * random.below(size), random.below(2 * size));
      case 2:
        return this.#writeHeader(this.#address(32));
      case 3:
        return this.#expose();
      default:
        // One more, which the drain should take with it.
        this.#availableIndex = (this.#availableIndex + 1) & 0xffff;
        return this.#expose();
    }
  }
}

function ringBytes(size: number): number {
  const { descriptorArea, driverArea, deviceArea } = splitQueueBytes(size);
  return descriptorArea + driverArea + deviceArea;
}
