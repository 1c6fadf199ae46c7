// virtio: which requests of a split ring are in flight, in memory that outlives this process (vhost-user's inflight
// area).
import type { SplitRing } from './split-ring.ts';

// struct QueueRegionSplit of QEMU's docs/interop/vhost-user.rst: { u64 features; u16 version, desc_num,
// last_batch_head, used_idx; struct DescStateSplit desc[] }, and struct DescStateSplit: { u8 inflight; u8 pad[5];
// u16 next; u64 counter }, 16 bytes each.
const HEADER_BYTES = 16;
const ENTRY_BYTES = 16;
const VERSION = 1;
// Indices of 16-bit words.
const VERSION_WORD = 4;
const SIZE_WORD = 5;
const LAST_BATCH_WORD = 6;
const USED_WORD = 7;
const NEXT_WORD = 3;

/** Bytes of the area of a ring with `size` descriptors. */
export function splitInFlightBytes(size: number): number {
  return HEADER_BYTES + ENTRY_BYTES * size;
}

/** What a process before this one left in flight. */
export interface LeftInFlight {
  /** The heads of its requests, in the order in which they were popped. */
  readonly heads: readonly number[];
  /** Why the area was ignored and begun anew: it does not fit the ring. */
  readonly problem?: string;
}

/**
 * The record of one ring. A process can be killed between any two stores here, and the next one still finds out which
 * requests are in flight: popped, and not shown to the driver as used. The document has the steps and their order.
 * V8 keeps the order of a thread's stores to typed arrays.
 */
export class SplitInFlight {
  readonly #ring: SplitRing;
  readonly #bytes: Uint8Array;
  readonly #words: Uint16Array;
  readonly #counters: Uint32Array;
  /** Counts requests, over all processes. A double: exact for 285 years of 10^6 requests a second. */
  #counter = 0;
  /** The heads that are used and not published. */
  readonly #batch: Uint16Array;
  #batched = 0;

  /** @param area `splitInFlightBytes` long, and at a multiple of 8 bytes. */
  constructor(ring: SplitRing, area: Uint8Array) {
    this.#ring = ring;
    const bytes = splitInFlightBytes(ring.size);
    this.#bytes = new Uint8Array(area.buffer, area.byteOffset, bytes);
    this.#words = new Uint16Array(area.buffer, area.byteOffset, bytes / 2);
    this.#counters = new Uint32Array(area.buffer, area.byteOffset, bytes / 4);
    this.#batch = new Uint16Array(ring.size);
  }

  /**
   * Before the ring is used: returns what is in flight. The front end can write to the area, so nothing in it is
   * trusted: a record that does not fit the ring is begun anew.
   */
  recover(): LeftInFlight {
    const version = this.#words[VERSION_WORD] as number;
    if (version === 0) return this.#begin();
    const size = this.#words[SIZE_WORD] as number;
    if (version !== VERSION || size !== this.#ring.size)
      return this.#begin(`it is of version ${version} and for a queue of ${size}, which has ${this.#ring.size}`);
    const used = this.#ring.usedIndex();
    this.#endBatch(used);
    const heads = this.#headsInFlight();
    const outstanding = (this.#ring.availableIndex() - used) & 0xffff;
    if (heads.length <= outstanding) return { heads };
    return this.#begin(`${heads.length} requests are in flight in it, and ${outstanding} in the ring`);
  }

  #begin(problem?: string): LeftInFlight {
    for (let head = 0; head < this.#ring.size; head++) this.#setInFlight(head, 0);
    this.#words[USED_WORD] = this.#ring.usedIndex();
    this.#words[SIZE_WORD] = this.#ring.size;
    this.#words[VERSION_WORD] = VERSION;
    return { heads: [], ...(problem !== undefined && { problem }) };
  }

  /** A process that was killed in `published` has shown its last batch to the driver, but not recorded all of it. */
  #endBatch(used: number): void {
    const unrecorded = Math.min((used - (this.#words[USED_WORD] as number)) & 0xffff, this.#ring.size);
    let head = this.#words[LAST_BATCH_WORD] as number;
    for (let i = 0; i < unrecorded && head < this.#ring.size; i++) {
      this.#setInFlight(head, 0);
      head = this.#words[this.#entry(head) / 2 + NEXT_WORD] as number;
    }
    this.#words[USED_WORD] = used;
  }

  #headsInFlight(): number[] {
    const found: { head: number; counter: number }[] = [];
    for (let head = 0; head < this.#ring.size; head++) {
      const at = this.#entry(head);
      if (this.#bytes[at] !== 1) continue;
      const word = at / 4 + 2;
      const counter = (this.#counters[word] as number) + (this.#counters[word + 1] as number) * 2 ** 32;
      found.push({ head, counter });
      this.#counter = Math.max(this.#counter, counter + 1);
    }
    return found.sort((a, b) => a.counter - b.counter).map(({ head }) => head);
  }

  #entry(head: number): number {
    return HEADER_BYTES + ENTRY_BYTES * head;
  }

  #setInFlight(head: number, value: 0 | 1): void {
    this.#bytes[this.#entry(head)] = value;
  }

  /** A request was popped. One that another process left keeps its place in the order. */
  popped(head: number): void {
    if (this.#bytes[this.#entry(head)] === 1) return;
    const word = this.#entry(head) / 4 + 2;
    this.#counters[word] = this.#counter;
    this.#counters[word + 1] = this.#counter / 2 ** 32;
    this.#counter++;
    this.#setInFlight(head, 1);
  }

  /** A request was put back into the ring. */
  unpopped(head: number): void {
    this.#setInFlight(head, 0);
  }

  /** A request is used, and not published. */
  used(head: number): void {
    this.#words[this.#entry(head) / 2 + NEXT_WORD] = this.#words[LAST_BATCH_WORD] as number;
    this.#words[LAST_BATCH_WORD] = head;
    this.#batch[this.#batched++] = head;
  }

  /** The driver sees every used request before `index`. */
  published(index: number): void {
    for (let i = 0; i < this.#batched; i++) this.#setInFlight(this.#batch[i] as number, 0);
    this.#batched = 0;
    this.#words[USED_WORD] = index;
  }
}
