// The microVM: writes a vCPU does not wait for: a ring from its thread to the main thread, as PCI posts writes.

const HEAD = 0;
const TAIL = 1;
const ENTRIES = 2;
/** How many a ring holds. */
export const POSTED_MAX = 1024;
const ENTRY_WORDS = 2;

const WORDS = ENTRIES + POSTED_MAX * ENTRY_WORDS;

export type PostedWords = Int32Array<SharedArrayBuffer>;

/** Memory for one ring, to be shared. */
export function newPostedWords(): PostedWords {
  return new Int32Array(new SharedArrayBuffer(4 * WORDS));
}

/** One ring, on either side. Head and tail count for ever, and wrap as 32 bits do. */
export class PostedWrites {
  readonly #words: PostedWords;

  constructor(words: PostedWords) {
    this.#words = words;
  }

  /** The vCPU's side. True where the other side may be asleep and has to be rung. A full ring waits until there is room. */
  post(port: number, sizeBytes: number, value: number): boolean {
    const words = this.#words;
    const head = words[HEAD] as number;
    for (let tail = this.#tail(); ((head - tail) | 0) >= POSTED_MAX; tail = this.#tail())
      Atomics.wait(words, TAIL, tail);
    const at = ENTRIES + (head & (POSTED_MAX - 1)) * ENTRY_WORDS;
    words[at] = (sizeBytes << 16) | port;
    words[at + 1] = value;
    Atomics.store(words, HEAD, (head + 1) | 0);
    // Whoever takes moves the tail, then looks at the head again: one of both sees the other.
    return this.#tail() === head;
  }

  #tail(): number {
    return Atomics.load(this.#words, TAIL);
  }

  /** The device's side: the oldest one is handed to `write`. False when there was none. */
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

  /** The device's side: forgets what is there, and lets a vCPU go that waits for room. */
  discard(): void {
    while (this.take(() => {}));
  }
}
