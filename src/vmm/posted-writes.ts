// vmm: writes that a vCPU does not wait for: a ring from its thread to the main thread, like posted writes on
// PCI.

const HEAD = 0;
const TAIL = 1;
const ENTRIES = 2;
/** Capacity of a ring. */
export const POSTED_MAX = 1024;
const ENTRY_WORDS = 2;

const WORDS = ENTRIES + POSTED_MAX * ENTRY_WORDS;

export type PostedWords = Int32Array<SharedArrayBuffer>;

/** Allocates shared memory for one ring. */
export function newPostedWords(): PostedWords {
  return new Int32Array(new SharedArrayBuffer(4 * WORDS));
}

/** One ring, on either side. Head and tail count on and wrap around at 32 bits. */
export class PostedWrites {
  readonly #words: PostedWords;

  constructor(words: PostedWords) {
    this.#words = words;
  }

  /**
   * The vCPU's side: adds a write; blocks while the ring is full. Returns true if the other side may be asleep and has
   * to be signalled.
   */
  post(port: number, sizeBytes: number, value: number): boolean {
    const words = this.#words;
    const head = words[HEAD] as number;
    for (let tail = this.#tail(); ((head - tail) | 0) >= POSTED_MAX; tail = this.#tail())
      Atomics.wait(words, TAIL, tail);
    const at = ENTRIES + (head & (POSTED_MAX - 1)) * ENTRY_WORDS;
    words[at] = (sizeBytes << 16) | port;
    words[at + 1] = value;
    Atomics.store(words, HEAD, (head + 1) | 0);
    // The device side stores the tail, then loads the head: one of the two sides sees the other's store.
    return this.#tail() === head;
  }

  #tail(): number {
    return Atomics.load(this.#words, TAIL);
  }

  /** The device's side: calls `write` with the oldest write. Returns false when there was none. */
  take(write: (port: number, sizeBytes: number, value: number) => void): boolean {
    const words = this.#words;
    const tail = words[TAIL] as number;
    if (Atomics.load(words, HEAD) === tail) return false;
    const at = ENTRIES + (tail & (POSTED_MAX - 1)) * ENTRY_WORDS;
    const [where, value] = [words[at] as number, words[at + 1] as number];
    write(where & 0xffff, where >>> 16, value >>> 0);
    Atomics.store(words, TAIL, (tail + 1) | 0);
    Atomics.notify(words, TAIL);
    return true;
  }

  get isEmpty(): boolean {
    return Atomics.load(this.#words, HEAD) === this.#tail();
  }

  /** The device's side: empties the ring, which releases a vCPU that waits for room. */
  discard(): void {
    while (this.take(() => {}));
  }
}
