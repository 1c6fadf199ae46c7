// Stores: threads that map one file keep out of each other's way: one punches holes only while no other one copies.
import { barrierOnAllThreads } from '../sys/membarrier.ts';

// Each thread has a word, odd while it looks at the allocation map and copies. A copy stores the word, then loads the marks of
// its chunks. A punch stores the marks (PUNCHING), has membarrier(2) put a barrier into every other thread, and then loads the
// words. If a copy did not see the mark, its word was stored before the barrier: the punch sees it odd and waits until it
// changes. Nobody waits between `begin` and `end`, so there is no deadlock. V8 keeps the order of a thread's accesses to
// typed arrays.

const THREADS_MAX = 256;
/** In 32-bit words: 128 bytes, since processors fetch cache lines in pairs, and a line that two threads write is slow. */
const STRIDE = 32;
/** The one word that all threads write: 1 while a thread punches. */
const LOCK = 0;
/** A thread's words, counted from the start of its stride. */
const COPYING = 0;
const OWNER = 1;
/** Values of OWNER. Behind the first NEVER_USED there is no other state. */
const NEVER_USED = 0;
const IN_USE = 1;
const GIVEN_BACK = 2;

/** How often a word is looked at before the thread sleeps, about as long as a copy of 64 KiB takes; and how long it sleeps. */
const LOOKS = 1000;
const NAP_MS = 0.1;

/** On x64 no thread sees a store before the loads and stores that precede it are done. Elsewhere that takes Atomics.store. */
const isTotalStoreOrder = process.arch === 'x64';

export class CopyGuard {
  /** What another thread of this process passes to the constructor. */
  readonly shared: SharedArrayBuffer;
  #words: Int32Array;
  #at: number;
  #count: number;

  /** Takes a word of its own. Throws Error if THREADS_MAX are taken. */
  constructor(shared = new SharedArrayBuffer((THREADS_MAX + 1) * STRIDE * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
    this.#at = claim(this.#words);
    this.#count = Atomics.load(this.#words, this.#at + COPYING);
  }

  /** From here to `end` no chunk is punched that the allocation map does not say is being punched. */
  begin(): void {
    this.#count = (this.#count + 1) | 0;
    this.#words[this.#at] = this.#count;
  }

  end(): void {
    this.#count = (this.#count + 1) | 0;
    if (isTotalStoreOrder) this.#words[this.#at] = this.#count;
    else Atomics.store(this.#words, this.#at, this.#count);
  }

  /** Takes the lock of those who punch. False if another thread holds it until `deadlineMs` (of performance.now()). */
  lock(deadlineMs: number): boolean {
    while (Atomics.compareExchange(this.#words, LOCK, 0, 1) !== 0) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) return false;
      Atomics.wait(this.#words, LOCK, 1, leftMs);
    }
    return true;
  }

  unlock(): void {
    Atomics.store(this.#words, LOCK, 0);
    Atomics.notify(this.#words, LOCK, 1);
  }

  /**
   * Waits until every copy of another thread that may not have seen this thread's last stores has ended. False if one has
   * not until `deadlineMs`, and always where Linux has no membarrier(2).
   */
  othersEnded(deadlineMs: number): boolean {
    if (!barrierOnAllThreads()) return false;
    const words = this.#words;
    for (let at = STRIDE; at < words.length && Atomics.load(words, at + OWNER) !== NEVER_USED; at += STRIDE)
      if (at !== this.#at && !hasEnded(words, at, deadlineMs)) return false;
    return true;
  }

  /** Gives the word back. Not to be called between `begin` and `end`. */
  close(): void {
    Atomics.store(this.#words, this.#at + OWNER, GIVEN_BACK);
    // A request after the end must not write the word, which may be another thread's by now.
    this.#words = new Int32Array(STRIDE);
    this.#at = COPYING;
  }
}

function claim(words: Int32Array): number {
  for (let at = STRIDE; at < words.length; at += STRIDE) {
    const owner = Atomics.load(words, at + OWNER);
    if (owner !== IN_USE && Atomics.compareExchange(words, at + OWNER, owner, IN_USE) === owner) return at;
  }
  throw new Error(`one file is mapped by at most ${THREADS_MAX} threads at a time`);
}

function hasEnded(words: Int32Array, at: number, deadlineMs: number): boolean {
  const seen = Atomics.load(words, at + COPYING);
  if ((seen & 1) === 0) return true;
  for (let looks = 0; Atomics.load(words, at + COPYING) === seen; looks++) {
    if (looks < LOOKS) continue;
    if (performance.now() >= deadlineMs) return false;
    Atomics.wait(words, at + COPYING, seen, NAP_MS);
  }
  return true;
}
