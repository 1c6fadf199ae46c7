// bench/handoff: a mutex and a condition variable in shared memory, made of Atomics, as pthread_mutex and pthread_cond.

const LOCK = 0;
const SEQUENCE = 1;
const WAITERS = 2;

// States of LOCK, as in Drepper's "Futexes Are Tricky".
const FREE = 0;
const HELD = 1;
const CONTENDED = 2;

export class Monitor {
  readonly #words: Int32Array;

  /** Uses the first 12 bytes of `shared`, which are zero at first; every thread that shares them shares the monitor. */
  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared, 0, 3);
  }

  lock(): void {
    const words = this.#words;
    let state = Atomics.compareExchange(words, LOCK, FREE, HELD);
    while (state !== FREE) {
      if (state === CONTENDED || Atomics.compareExchange(words, LOCK, HELD, CONTENDED) !== FREE)
        Atomics.wait(words, LOCK, CONTENDED);
      state = Atomics.compareExchange(words, LOCK, FREE, CONTENDED);
    }
  }

  unlock(): void {
    const words = this.#words;
    if (Atomics.exchange(words, LOCK, FREE) === CONTENDED) Atomics.notify(words, LOCK, 1);
  }

  /** Releases the lock, sleeps until `signal`, takes it again. May wake without a signal: check the condition again. */
  wait(): void {
    const words = this.#words;
    const sequence = Atomics.load(words, SEQUENCE);
    Atomics.add(words, WAITERS, 1);
    this.unlock();
    Atomics.wait(words, SEQUENCE, sequence);
    this.lock();
    Atomics.sub(words, WAITERS, 1);
  }

  /** Wakes one waiter, if there is any. The caller holds the lock. */
  signal(): void {
    const words = this.#words;
    if (Atomics.load(words, WAITERS) === 0) return;
    Atomics.add(words, SEQUENCE, 1);
    Atomics.notify(words, SEQUENCE, 1);
  }
}
