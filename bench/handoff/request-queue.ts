// bench/handoff: requests on their way from the thread that parses to the thread that serves: a FIFO behind one lock.
import { Monitor } from './monitor.ts';

/** A read request, parsed from its chain; plain numbers, since it is passed between threads. */
export interface ParsedRead {
  /** Descriptor that names the request in the used ring. */
  head: number;
  /** Bytes from the disk's start. */
  offset: number;
  /** Where the data goes, from the start of the shared memory. */
  data: number;
  length: number;
  /** Where the status byte goes. */
  status: number;
}

const FIELDS = 5;
// After the monitor's words: indices of the next push and the next shift, which are never wrapped.
const TAIL = 0;
const HEAD = 1;
const COUNTERS_AT = 16;
const ENTRIES_AT = 64;
const INDEX_MASK = 0x7fff_ffff;

export class RequestQueue {
  readonly monitor: Monitor;
  readonly #counters: Int32Array;
  readonly #entries: Float64Array;
  readonly #size: number;

  static sharedBytes(size: number): number {
    return ENTRIES_AT + size * FIELDS * 8;
  }

  /** @param size a power of two; the caller of `push` keeps no more requests than that in it. */
  constructor(shared: SharedArrayBuffer, size: number) {
    this.monitor = new Monitor(shared);
    this.#counters = new Int32Array(shared, COUNTERS_AT, 2);
    this.#entries = new Float64Array(shared, ENTRIES_AT, size * FIELDS);
    this.#size = size;
  }

  /** Empties it. No other thread may use it meanwhile. */
  clear(): void {
    this.#counters.fill(0);
  }

  // The methods below are called with the monitor's lock held: the lock orders these plain loads and stores.

  get isEmpty(): boolean {
    return this.#counters[HEAD] === this.#counters[TAIL];
  }

  push(request: ParsedRead): void {
    const tail = this.#counters[TAIL] as number;
    const at = (tail & (this.#size - 1)) * FIELDS;
    this.#entries[at] = request.head;
    this.#entries[at + 1] = request.offset;
    this.#entries[at + 2] = request.data;
    this.#entries[at + 3] = request.length;
    this.#entries[at + 4] = request.status;
    this.#counters[TAIL] = (tail + 1) & INDEX_MASK;
  }

  /** Takes the first one into `request`. The queue must not be empty. */
  shift(request: ParsedRead): void {
    const head = this.#counters[HEAD] as number;
    const at = (head & (this.#size - 1)) * FIELDS;
    request.head = this.#entries[at] as number;
    request.offset = this.#entries[at + 1] as number;
    request.data = this.#entries[at + 2] as number;
    request.length = this.#entries[at + 3] as number;
    request.status = this.#entries[at + 4] as number;
    this.#counters[HEAD] = (head + 1) & INDEX_MASK;
  }
}
