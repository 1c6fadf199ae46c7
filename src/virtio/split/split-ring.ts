// Cellar: the words of a split virtqueue in shared memory (§2.7): each accessor is one read or one write, in the order it is called.
import { splitQueueBytes, VIRTQ_AVAIL_F_NO_INTERRUPT, VIRTQ_USED_F_NO_NOTIFY } from '../spec.ts';

/** The three parts of the ring in guest memory, each `splitQueueBytes(size)` long and aligned as §2.7 says. */
export interface SplitLayout {
  readonly size: number;
  readonly descriptorTable: Uint8Array<ArrayBuffer>;
  readonly availableRing: Uint8Array<ArrayBuffer>;
  readonly usedRing: Uint8Array<ArrayBuffer>;
}

/** Addresses of the three parts of a ring; whose, says who has them. */
export interface RingAddresses {
  readonly descriptorTable: number;
  readonly availableRing: number;
  readonly usedRing: number;
}

/** Finds a ring of `size` in memory. Throws what `slice` throws where a part is not in it. */
export function splitLayoutAt(
  memory: { slice(address: number, length: number): Uint8Array<ArrayBuffer> },
  size: number,
  { descriptorTable, availableRing, usedRing }: RingAddresses,
): SplitLayout {
  const bytes = splitQueueBytes(size);
  return {
    size,
    descriptorTable: memory.slice(descriptorTable, bytes.descriptorTable),
    availableRing: memory.slice(availableRing, bytes.availableRing),
    usedRing: memory.slice(usedRing, bytes.usedRing),
  };
}

/** What stands in the shared memory of a ring, beside its entries. */
export interface RingWords {
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
 * Words that tell the other side something, or that it tells us, go through Atomics: sequentially consistent, so that a store
 * here is visible before any later load here is done. x86 needs that too: it lets a load pass an earlier store.
 */
export class SplitRing {
  readonly size: number;
  readonly table: DataView<ArrayBuffer>;
  readonly #mask: number;
  readonly #avail: Uint16Array<ArrayBuffer>;
  readonly #used: Uint16Array<ArrayBuffer>;
  readonly #usedElements: Uint32Array<ArrayBuffer>;

  constructor({ size, descriptorTable: table, availableRing: avail, usedRing: used }: SplitLayout) {
    this.size = size;
    this.#mask = size - 1;
    this.table = new DataView(table.buffer, table.byteOffset, table.length);
    this.#avail = new Uint16Array(avail.buffer, avail.byteOffset, avail.length / 2);
    this.#used = new Uint16Array(used.buffer, used.byteOffset, used.length / 2);
    this.#usedElements = new Uint32Array(used.buffer, used.byteOffset + 4, 2 * size);
  }

  /** Where the driver puts the next request: le16, wraps. */
  availableIndex(): number {
    return Atomics.load(this.#avail, INDEX);
  }

  /** The head of the request at an available index. Read after `availableIndex`, never before. */
  availableHead(index: number): number {
    return this.#avail[RING + (index & this.#mask)] as number;
  }

  usedIndex(): number {
    return Atomics.load(this.#used, INDEX);
  }

  /** The head of the used element at an index that was published. */
  usedHead(index: number): number {
    return this.#usedElements[2 * (index & this.#mask)] as number;
  }

  /** Fills the used element at an index that is not yet published. */
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

  /** Asks the driver, without EVENT_IDX, to notify us or not. With it "the device MUST set flags to 0" (§2.7.10.2). */
  setWantsKicks(wanted: boolean): void {
    Atomics.store(this.#used, FLAGS, wanted ? 0 : VIRTQ_USED_F_NO_NOTIFY);
  }

  /** The used index whose passing the driver wants to be notified of, with EVENT_IDX. */
  usedEvent(): number {
    return Atomics.load(this.#avail, RING + this.size);
  }

  /** Asks the driver to notify us when it passes this available index, with EVENT_IDX. */
  setAvailEvent(index: number): void {
    Atomics.store(this.#used, RING + 4 * this.size, index);
  }

  /** Every word at once, for a person to look at. */
  words(): RingWords {
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
