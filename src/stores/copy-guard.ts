// stores: lets threads that map one file copy concurrently, and one punch holes only while no other one copies.
import { barrierOnAllThreads } from '../sys/membarrier.ts';

// Each thread has a word, odd while it reads the allocation map and copies. A copy stores the word, then loads the
// marks of its chunks. A punch stores the marks (PUNCHING), has membarrier(2) put a barrier into every other thread,
// and then loads the words. If a copy did not see the mark, its word was stored before the barrier: the punch sees the
// odd word and waits until it changes. No thread waits between `begin` and `end`, so there is no deadlock. V8 keeps the
// order of a thread's accesses to typed arrays.

const THREADS_MAX = 256;
/** In 32-bit words: 128 bytes, to avoid false sharing: processors fetch cache lines in pairs. */
const STRIDE = 32;
/** The index of the lock word, which all threads write: 1 while a thread punches. */
const LOCK = 0;
/** The indices of a thread's words, from the start of its stride. */
const COPYING = 0;
const OWNER = 1;
/** Values of OWNER. All strides behind the first NEVER_USED one are NEVER_USED too. */
const NEVER_USED = 0;
const IN_USE = 1;
const RELEASED = 2;

/**
 * How often a word is polled before the thread sleeps, about as long as a copy of 64 KiB takes; and how long it sleeps.
 */
const POLLS = 1000;
const SLEEP_MS = 0.1;

/** On x64 a store becomes visible only after all earlier loads and stores. Elsewhere that takes Atomics.store. */
const isTotalStoreOrder = process.arch === 'x64';

/** One thread's part of the guard that all threads of a mapped file share. */
export class CopyGuard {
  /** The argument of the constructor on another thread of this process. */
  readonly shared: SharedArrayBuffer;
  #words: Int32Array;
  #at: number;
  #count: number;

  /** Claims a word for this thread. Throws Error if THREADS_MAX are in use. */
  constructor(shared = new SharedArrayBuffer((THREADS_MAX + 1) * STRIDE * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
    this.#at = claim(this.#words);
    this.#count = Atomics.load(this.#words, this.#at + COPYING);
  }

  /** Until `end` no other thread punches a chunk that is not marked PUNCHING in the allocation map. */
  begin(): void {
    this.#count = (this.#count + 1) | 0;
    this.#words[this.#at] = this.#count;
  }

  end(): void {
    this.#count = (this.#count + 1) | 0;
    if (isTotalStoreOrder) this.#words[this.#at] = this.#count;
    else Atomics.store(this.#words, this.#at, this.#count);
  }

  /**
   * Takes the lock for punching. Returns false if another thread holds it until `deadlineMs` (of performance.now()).
   */
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
   * Waits until every copy of another thread that may not have seen this thread's earlier stores has ended. Returns
   * false if one has not ended at `deadlineMs`, and always where Linux has no membarrier(2).
   */
  othersEnded(deadlineMs: number): boolean {
    if (!barrierOnAllThreads()) return false;
    const words = this.#words;
    for (let at = STRIDE; at < words.length && Atomics.load(words, at + OWNER) !== NEVER_USED; at += STRIDE)
      if (at !== this.#at && !hasEnded(words, at, deadlineMs)) return false;
    return true;
  }

  /** Releases the word. Do not call it between `begin` and `end`. */
  close(): void {
    Atomics.store(this.#words, this.#at + OWNER, RELEASED);
    // A request after `close` must not write the word, which another thread may have claimed.
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
  for (let polls = 0; Atomics.load(words, at + COPYING) === seen; polls++) {
    if (polls < POLLS) continue;
    if (performance.now() >= deadlineMs) return false;
    Atomics.wait(words, at + COPYING, seen, SLEEP_MS);
  }
  return true;
}
