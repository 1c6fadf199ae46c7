// testing: the driver side of a split virtqueue, §2.7: places chains, kicks, harvests; raw words to break rules
// with.

import type { AreaBytes, RingAreas } from '../virtio/ring-format.ts';
import {
  DESCRIPTOR_BYTES,
  VIRTIO_F_EVENT_IDX,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from '../virtio/spec.ts';
import { splitQueueBytes } from '../virtio/split/split-format.ts';
import type { DriverMemory } from './driver-memory.ts';

/** One element of a buffer: what one descriptor describes. */
export interface DriverBuffer {
  /** A guest address. */
  readonly address: number;
  /** Bytes; 0 is allowed. */
  readonly length: number;
  /** Device-writable. */
  readonly writable: boolean;
}

/** How a driver sets up a split virtqueue. */
export interface DriverQueueOptions {
  /** Descriptors of the ring, a power of two up to 32768. */
  readonly size: number;
  /** The accepted features; only VIRTIO_F_EVENT_IDX matters here. Default: none. */
  readonly features?: bigint;
  /** Where both indices start. Default: 0. */
  readonly start?: number;
  /** Descriptors in each indirect table. Default: 0, no indirect tables. */
  readonly indirectMax?: number;
}

/** The device broke a MUST. */
export class DeviceError extends Error {
  override readonly name = 'DeviceError';
}

const INDEX = 1; // of `idx` in either ring, in le16 words; `flags` is word 0
const RING = 2;
const WORDS = DESCRIPTOR_BYTES / 4;

/**
 * The driver's side of a split virtqueue, §2.7: places chains, publishes, harvests. Its raw words are there to break
 * rules with; a correct driver uses `BlockDriver` or `ChainDriver`. Throws RangeError where the ring has no room in
 * `memory`.
 */
export class DriverQueue {
  /** Descriptors of the ring. */
  readonly size: number;
  /** The guest addresses of its three areas. */
  readonly addresses: RingAreas;
  /** The bytes of its three areas, for a device in this process. */
  readonly layout: AreaBytes;
  /** Raw: the descriptor table, four words a descriptor; `writeDescriptor` fills one. */
  readonly descriptors: Uint32Array<ArrayBuffer>;
  /** Raw: flags, idx, ring[size], used_event. */
  readonly available: Uint16Array<ArrayBuffer>;
  /** Raw: flags, idx, ring[size] of four words each, avail_event. */
  readonly used: Uint16Array<ArrayBuffer>;
  readonly #usedElements: Uint32Array<ArrayBuffer>;
  readonly #eventIdx: boolean;
  readonly #indirectMax: number;
  readonly #indirectTables: number;
  readonly #indirectWords: Uint32Array<ArrayBuffer>;
  readonly #free: Uint16Array;
  #freeCount: number;
  /**
   * By head, for each chain in flight: its number of descriptors (-1: not in flight), and how many bytes the device may
   * write.
   */
  readonly #descriptorsOf: Int32Array;
  readonly #writableOf: Float64Array;
  /** The driver's own copy of each `next`, because the device can change shared memory. */
  readonly #nextOf: Uint16Array;
  #placed: number;
  #published: number;
  #kicked: number;
  #harvested: number;

  constructor(memory: DriverMemory, options: DriverQueueOptions) {
    const { size, features = 0n, start = 0, indirectMax = 0 } = options;
    this.size = size;
    this.addresses = allocateRing(memory, size);
    this.layout = areasIn(memory, size, this.addresses);
    const { descriptorArea, driverArea, deviceArea } = this.layout;
    this.descriptors = new Uint32Array(descriptorArea.buffer, descriptorArea.byteOffset, WORDS * size);
    this.available = new Uint16Array(driverArea.buffer, driverArea.byteOffset, driverArea.length / 2);
    this.used = new Uint16Array(deviceArea.buffer, deviceArea.byteOffset, deviceArea.length / 2);
    this.#usedElements = new Uint32Array(deviceArea.buffer, deviceArea.byteOffset + 4, 2 * size);
    this.#eventIdx = (features & VIRTIO_F_EVENT_IDX) !== 0n;
    this.#indirectMax = indirectMax;
    const tablesBytes = indirectMax * size * DESCRIPTOR_BYTES;
    this.#indirectTables = memory.allocate(tablesBytes);
    const tables = memory.slice(this.#indirectTables, tablesBytes);
    this.#indirectWords = new Uint32Array(tables.buffer, tables.byteOffset, tables.length / 4);
    this.#free = Uint16Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#freeCount = size;
    this.#descriptorsOf = new Int32Array(size).fill(-1);
    this.#writableOf = new Float64Array(size);
    this.#nextOf = new Uint16Array(size);
    this.#placed = this.#published = this.#kicked = this.#harvested = start;
    // "The driver MUST initialize flags in the used ring to 0 when allocating the used ring."
    driverArea.fill(0);
    deviceArea.fill(0);
    this.available[INDEX] = this.used[INDEX] = start;
    if (this.#eventIdx) this.available[RING + size] = start;
  }

  /** How many descriptors are free. */
  get freeDescriptors(): number {
    return this.#freeCount;
  }

  /** The available index as the device sees it. */
  get availableIndex(): number {
    return this.#published;
  }

  /** The used index up to which completions were harvested. */
  get usedIndex(): number {
    return this.#harvested;
  }

  /** Writes one descriptor of the table, valid or not. */
  writeDescriptor(index: number, address: number, length: number, flags: number, next: number): void {
    writeWords(this.descriptors, index, address, length, flags, next);
  }

  /**
   * Places a chain; the device sees it after `publish`. Elements from `indirectFrom` on go into an indirect table.
   * @returns its head, which `harvest` reports. Throws RangeError when there are not enough descriptors.
   */
  add(buffers: readonly DriverBuffer[], indirectFrom = buffers.length): number {
    const direct = Math.min(indirectFrom, buffers.length);
    const count = direct + (indirectFrom < buffers.length ? 1 : 0);
    if (count === 0 || count > this.#freeCount)
      throw new RangeError(`a chain of ${count} descriptors, ${this.#freeCount} are free`);
    const head = this.#free[this.#freeCount - 1] as number;
    let writableBytes = 0;
    let index = head;
    for (let i = 0; i < count; i++) {
      index = this.#free[--this.#freeCount] as number;
      const following = i + 1 < count ? (this.#free[this.#freeCount - 1] as number) : 0;
      this.#nextOf[index] = following;
      if (i === direct) {
        this.#writeTable(head, index, buffers, indirectFrom);
        break;
      }
      const { address, length, writable } = buffers[i] as DriverBuffer;
      const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0);
      writeWords(this.descriptors, index, address, length, flags, following);
    }
    for (const { length, writable } of buffers) if (writable) writableBytes += length;
    this.#descriptorsOf[head] = count;
    this.#writableOf[head] = writableBytes;
    this.available[RING + (this.#placed & (this.size - 1))] = head;
    this.#placed = (this.#placed + 1) & 0xffff;
    return head;
  }

  #writeTable(head: number, index: number, buffers: readonly DriverBuffer[], from: number): void {
    const count = buffers.length - from;
    if (count > this.#indirectMax)
      throw new RangeError(`${count} descriptors for an indirect table of ${this.#indirectMax}`);
    const first = head * this.#indirectMax;
    for (let i = 0; i < count; i++) {
      const { address, length, writable } = buffers[from + i] as DriverBuffer;
      const more = i + 1 < count;
      const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (more ? VIRTQ_DESC_F_NEXT : 0);
      writeWords(this.#indirectWords, first + i, address, length, flags, more ? i + 1 : 0);
    }
    const table = this.#indirectTables + first * DESCRIPTOR_BYTES;
    writeWords(this.descriptors, index, table, count * DESCRIPTOR_BYTES, VIRTQ_DESC_F_INDIRECT, 0);
  }

  /** Publishes every chain placed so far. */
  publish(): void {
    this.#published = this.#placed;
    Atomics.store(this.available, INDEX, this.#published);
  }

  /** Whether the device requested a notification for what was published since the last call, §2.7.10.1. */
  needsKick(): boolean {
    const before = this.#kicked;
    const now = this.#published;
    this.#kicked = now;
    if (before === now) return false;
    // The loads come after the barrier that the store of `idx` is.
    if (!this.#eventIdx) return (Atomics.load(this.used, 0) & VIRTQ_USED_F_NO_NOTIFY) === 0;
    const event = Atomics.load(this.used, RING + 4 * this.size);
    return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  /** Whether there are completions to harvest. */
  hasUsed(): boolean {
    return Atomics.load(this.used, INDEX) !== this.#harvested;
  }

  /**
   * Takes completions from the used ring, at most `limit`, and frees their descriptors.
   * @returns how many. Throws DeviceError for a chain that is not in flight, or more bytes than the chain has to write.
   */
  harvest(onUsed: (head: number, usedLength: number) => void, limit = this.size): number {
    const count = (Atomics.load(this.used, INDEX) - this.#harvested) & 0xffff;
    if (count > this.size) throw new DeviceError(`${count} completions on a queue of ${this.size}`);
    const taken = Math.min(count, limit);
    for (let i = 0; i < taken; i++) {
      const at = 2 * (this.#harvested & (this.size - 1));
      const head = this.#usedElements[at] as number;
      const usedLength = this.#usedElements[at + 1] as number;
      this.#harvested = (this.#harvested + 1) & 0xffff;
      this.#release(head, usedLength);
      onUsed(head, usedLength);
    }
    return taken;
  }

  #release(head: number, usedLength: number): void {
    const count = this.#descriptorsOf[head];
    if (count === undefined || count < 0) throw new DeviceError(`completion of chain ${head}, which is not in flight`);
    const writableBytes = this.#writableOf[head] as number;
    if (usedLength > writableBytes)
      throw new DeviceError(`used length ${usedLength} of chain ${head}, which has ${writableBytes} bytes to write`);
    this.#descriptorsOf[head] = -1;
    for (let i = 0, index = head; i < count; i++, index = this.#nextOf[index] as number)
      this.#free[this.#freeCount++] = index;
  }

  /** Requests no notifications. */
  suppressCalls(): void {
    if (this.#eventIdx) Atomics.store(this.available, RING + this.size, (this.#harvested - 1) & 0xffff);
    else Atomics.store(this.available, 0, VIRTQ_AVAIL_F_NO_INTERRUPT);
  }

  /**
   * Requests a notification when `after` + 1 more completions are there (without EVENT_IDX: at each).
   * @returns true when they are there already; no notification will come for them.
   */
  requestCalls(after = 0): boolean {
    if (this.#eventIdx) Atomics.store(this.available, RING + this.size, (this.#harvested + after) & 0xffff);
    else Atomics.store(this.available, 0, 0);
    return ((Atomics.load(this.used, INDEX) - this.#harvested) & 0xffff) > (this.#eventIdx ? after : 0);
  }
}

function allocateRing(memory: DriverMemory, size: number): RingAreas {
  const bytes = splitQueueBytes(size);
  return {
    descriptorArea: memory.allocate(bytes.descriptorArea),
    driverArea: memory.allocate(bytes.driverArea),
    deviceArea: memory.allocate(bytes.deviceArea),
  };
}

function areasIn(memory: DriverMemory, size: number, { descriptorArea, driverArea, deviceArea }: RingAreas): AreaBytes {
  const bytes = splitQueueBytes(size);
  return {
    descriptorArea: memory.slice(descriptorArea, bytes.descriptorArea),
    driverArea: memory.slice(driverArea, bytes.driverArea),
    deviceArea: memory.slice(deviceArea, bytes.deviceArea),
  };
}

function writeWords(
  words: Uint32Array,
  index: number,
  address: number,
  length: number,
  flags: number,
  next: number,
): void {
  const at = WORDS * index;
  words[at] = address;
  words[at + 1] = Math.floor(address / 2 ** 32);
  words[at + 2] = length;
  words[at + 3] = flags | (next << 16);
}
