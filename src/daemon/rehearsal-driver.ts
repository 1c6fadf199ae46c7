// daemon: the driver of a rehearsal: a split ring in memory, with requests of a disk in it, again and again.
import * as blk from '../devices/blk/spec.ts';
import type { RingAreas } from '../virtio/ring-format.ts';
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from '../virtio/spec.ts';

/** Requests at a time. */
export const REHEARSED_DEPTH = 32;
/** Descriptors of the ring. */
export const REHEARSED_SIZE = 128;
/** Bytes of memory that the ring and its requests take. */
export const REHEARSED_BYTES = 512 * 1024;
const DATA_BYTES = 4096;

// Where everything is in the memory, in bytes.
const DRIVER_AREA = 4096;
const DEVICE_AREA = 8192;
const TABLES = 12_288;
const HEADERS = 16_384;
const STATUSES = 20_480;
const DATA = 65_536;

// Indices in le16 words, §2.7.6 and §2.7.8.
const INDEX = 1;
const RING = 2;
const USED_EVENT = RING + REHEARSED_SIZE;

/** The driver's side of one ring. The device may be on the same thread: nothing here waits. */
export class RehearsalDriver {
  readonly areas: RingAreas;
  readonly #guestAddress: number;
  readonly #words: Uint32Array;
  readonly #available: Uint16Array;
  readonly #used: Uint16Array;
  readonly #statuses: Uint8Array;
  readonly #isReadOnly: boolean;
  #placed = 0;

  /** @param memory REHEARSED_BYTES of zeroes, which the device sees at `guestAddress`. */
  constructor(memory: Uint8Array<ArrayBuffer>, guestAddress: number, isReadOnly: boolean) {
    const { buffer, byteOffset } = memory;
    this.#guestAddress = guestAddress;
    this.#isReadOnly = isReadOnly;
    this.#words = new Uint32Array(buffer, byteOffset, REHEARSED_BYTES / 4);
    this.#available = new Uint16Array(buffer, byteOffset + DRIVER_AREA, 3 + REHEARSED_SIZE);
    this.#used = new Uint16Array(buffer, byteOffset + DEVICE_AREA, 3 + 4 * REHEARSED_SIZE);
    this.#statuses = memory.subarray(STATUSES, STATUSES + REHEARSED_DEPTH);
    const at = (offset: number): number => guestAddress + offset;
    this.areas = { descriptorArea: at(0), driverArea: at(DRIVER_AREA), deviceArea: at(DEVICE_AREA) };
  }

  /** Whether the device has completed everything that was placed. */
  get isIdle(): boolean {
    return Atomics.load(this.#used, INDEX) === this.#placed;
  }

  /** How many of the requests of the last round failed. */
  get failures(): number {
    return this.#statuses.reduce((sum, status) => sum + (status === blk.VIRTIO_BLK_S_OK ? 0 : 1), 0);
  }

  /** Makes a round of requests available: reads and writes, half of the rounds with indirect tables, and some flushes. */
  place(round: number): void {
    for (let slot = 0; slot < REHEARSED_DEPTH; slot++) {
      const head = this.#write(slot, typeOf(round, slot, this.#isReadOnly), (round & 2) !== 0);
      this.#available[RING + ((this.#placed + slot) % REHEARSED_SIZE)] = head;
    }
    this.#placed = (this.#placed + REHEARSED_DEPTH) & 0xffff;
    // One notification, for the last of them.
    this.#available[USED_EVENT] = (this.#placed - 1) & 0xffff;
    Atomics.store(this.#available, INDEX, this.#placed);
  }

  /** Writes the chain of a request. Returns its head. */
  #write(slot: number, type: number, isIndirect: boolean): number {
    const head = 3 * slot;
    const table = isIndirect ? TABLES + 48 * slot : 16 * head;
    const first = isIndirect ? 0 : head;
    const header = HEADERS + blk.REQUEST_HEADER_BYTES * slot;
    this.#words.set([type, 0, (DATA_BYTES / blk.SECTOR_BYTES) * slot, 0], header / 4);
    const data = type === blk.VIRTIO_BLK_T_IN ? VIRTQ_DESC_F_WRITE : 0;
    const hasData = type !== blk.VIRTIO_BLK_T_FLUSH;
    this.#describe(table, header, blk.REQUEST_HEADER_BYTES, VIRTQ_DESC_F_NEXT, first + (hasData ? 1 : 2));
    this.#describe(table + 16, DATA + DATA_BYTES * slot, DATA_BYTES, data | VIRTQ_DESC_F_NEXT, first + 2);
    this.#describe(table + 32, STATUSES + slot, 1, VIRTQ_DESC_F_WRITE, 0);
    if (isIndirect) this.#describe(16 * head, table, 48, VIRTQ_DESC_F_INDIRECT, 0);
    return head;
  }

  /** struct virtq_desc { le64 addr; le32 len; le16 flags; le16 next; } */
  #describe(at: number, offset: number, length: number, flags: number, next: number): void {
    this.#words.set([this.#guestAddress + offset, 0, length, flags | (next << 16)], at / 4);
  }
}

function typeOf(round: number, slot: number, isReadOnly: boolean): number {
  if (isReadOnly) return blk.VIRTIO_BLK_T_IN;
  if (round % 8 === 7 && slot === 0) return blk.VIRTIO_BLK_T_FLUSH;
  return ((round + slot) & 1) === 0 ? blk.VIRTIO_BLK_T_OUT : blk.VIRTIO_BLK_T_IN;
}
