// virtio: the shared memory of a split virtqueue (§2.7): each accessor is one load or one store.
import type { GuestMemory } from '../guest-memory.ts';
import type { AreaBytes } from '../ring-format.ts';
import { VIRTQ_AVAIL_F_NO_INTERRUPT, VIRTQ_USED_F_NO_NOTIFY } from '../spec.ts';

/** The words in the shared memory of a ring, beside its entries. */
export interface SplitWords {
  readonly availableFlags: number;
  readonly availableIndex: number;
  readonly usedEvent: number;
  readonly usedFlags: number;
  readonly usedIndex: number;
  readonly availEvent: number;
}

// Offsets in le16 words: either ring is { flags, idx, ring[…], event }.
const FLAGS = 0;
const INDEX = 1;
const RING = 2;

/**
 * Indices, flags and events are accessed with Atomics, which are sequentially consistent: a store is visible before any
 * later load is done. x86 needs that too, since it may reorder a load before an earlier store.
 */
export class SplitRing {
  readonly size: number;
  /** The descriptor table. */
  readonly table: DataView<ArrayBuffer>;
  readonly #mask: number;
  readonly #deviceArea: Uint8Array<ArrayBuffer>;
  readonly #avail: Uint16Array<ArrayBuffer>;
  readonly #used: Uint16Array<ArrayBuffer>;
  readonly #usedElements: Uint32Array<ArrayBuffer>;

  /** @param areas descriptor table, available ring and used ring, as long and aligned as `splitFormat` says. */
  constructor(size: number, { descriptorArea: table, driverArea: avail, deviceArea: used }: AreaBytes) {
    this.size = size;
    this.#mask = size - 1;
    this.#deviceArea = used;
    this.table = new DataView(table.buffer, table.byteOffset, table.length);
    this.#avail = new Uint16Array(avail.buffer, avail.byteOffset, avail.length / 2);
    this.#used = new Uint16Array(used.buffer, used.byteOffset, used.length / 2);
    this.#usedElements = new Uint32Array(used.buffer, used.byteOffset + 4, 2 * size);
  }

  /** The index at which the driver puts its next request: le16, wraps. */
  availableIndex(): number {
    return Atomics.load(this.#avail, INDEX);
  }

  /** The head of the request at an available index. Read after `availableIndex`, never before. */
  availableHead(index: number): number {
    return this.#avail[RING + (index & this.#mask)] as number;
  }

  /** The index at which the device puts its next used element: le16, wraps. */
  usedIndex(): number {
    return Atomics.load(this.#used, INDEX);
  }

  /** The head in the used element at a published index. */
  usedHead(index: number): number {
    return this.#usedElements[2 * (index & this.#mask)] as number;
  }

  /** Fills the used element at an index that is not published yet. */
  setUsed(index: number, head: number, length: number): void {
    const at = 2 * (index & this.#mask);
    this.#usedElements[at] = head;
    this.#usedElements[at + 1] = length;
  }

  /** Shows the driver every used element before `index`. "The device MUST set len prior to updating the used idx." */
  setUsedIndex(index: number): void {
    Atomics.store(this.#used, INDEX, index);
  }

  /** Whether the driver, without EVENT_IDX, wants to be notified. */
  wantsInterrupts(): boolean {
    return (Atomics.load(this.#avail, FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
  }

  /**
   * Asks the driver, without EVENT_IDX, for notifications or for none. With it "the device MUST set flags to 0"
   * (§2.7.10.2).
   */
  setWantsKicks(wanted: boolean): void {
    Atomics.store(this.#used, FLAGS, wanted ? 0 : VIRTQ_USED_F_NO_NOTIFY);
  }

  /** With EVENT_IDX: the driver wants a notification when the used index passes this one. */
  usedEvent(): number {
    return Atomics.load(this.#avail, RING + this.size);
  }

  /** With EVENT_IDX: asks the driver for a notification when the available index passes this one. */
  setAvailEvent(index: number): void {
    Atomics.store(this.#used, RING + 4 * this.size, index);
  }

  /** Marks all that the device writes, where the guest of `memory` is migrated. */
  markDirty(memory: GuestMemory): void {
    memory.dirty?.mark(memory.addressOf(this.#deviceArea), this.#deviceArea.length);
  }

  /** All words, for debugging. */
  words(): SplitWords {
    return {
      availableFlags: Atomics.load(this.#avail, FLAGS),
      availableIndex: this.availableIndex(),
      usedEvent: this.usedEvent(),
      usedFlags: Atomics.load(this.#used, FLAGS),
      usedIndex: this.usedIndex(),
      availEvent: Atomics.load(this.#used, RING + 4 * this.size),
    };
  }
}
