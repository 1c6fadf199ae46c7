// stores/filters: a token bucket that several threads share without a lock, and the end of it that one thread uses.

/** A clock that is the same on all threads, in nanoseconds. */
export type Clock = () => bigint;

/** The words of a bucket: when it is full, in ns of the clock; its tokens a second, 0: no limit; its size in ns. */
export const BUCKET_WORDS = 3;

/**
 * A token bucket in shared memory, after the generic cell rate algorithm. Its state is one word: the time at which it
 * will be full. A token is the time that it takes to flow in, 1/rate seconds. Taking tokens moves the word on by their
 * time, with one compare-and-exchange; nothing has to fill the bucket, since time passes by itself.
 */
export class SharedBucket {
  readonly #words: BigInt64Array;
  readonly #clock: Clock;
  readonly #fullAt: number;
  readonly #rate: number;
  readonly #burst: number;

  constructor(words: BigInt64Array, first: number, clock: Clock) {
    this.#words = words;
    this.#clock = clock;
    this.#fullAt = first;
    this.#rate = first + 1;
    this.#burst = first + 2;
  }

  /** Sets the tokens a second (0: no limit), and the size in seconds. Afterwards the bucket is full, or empty. */
  set(rate: number, burst: number, isFull: boolean): void {
    const burstNs = BigInt(Math.round(burst * 1e9));
    Atomics.store(this.#words, this.#rate, BigInt(rate));
    Atomics.store(this.#words, this.#burst, burstNs);
    // The last one: an exchange of `take` that used the old rate either came before, and is overwritten, or fails.
    Atomics.store(this.#words, this.#fullAt, isFull ? 0n : this.#clock() + burstNs);
  }

  /** Tokens a second; 0: no limit. */
  get rate(): number {
    return this.#number(this.#rate);
  }

  /** The size, in seconds of `rate`. */
  get burstSeconds(): number {
    return this.#number(this.#burst) / 1e9;
  }

  #number(word: number): number {
    return Number(Atomics.load(this.#words, word));
  }

  /** How many tokens it can hold. */
  get size(): number {
    const rate = this.#number(this.#rate);
    return rate === 0 ? Infinity : (rate * this.#number(this.#burst)) / 1e9;
  }

  /**
   * Takes `tokens`. Returns how many ns the caller has to wait before it uses them; the next caller waits until after
   * that. More tokens than the bucket can hold are there when it is full; it is in debt afterwards.
   * @param onlyNow takes nothing where the caller would have to wait.
   */
  take(tokens: number, onlyNow = false): number {
    for (;;) {
      const fullAt = Atomics.load(this.#words, this.#fullAt);
      const rate = this.#number(this.#rate);
      if (rate === 0) return 0;
      const burstNs = this.#number(this.#burst);
      const now = this.#clock();
      const start = fullAt > now ? fullAt : now;
      const thereNs = burstNs - Number(start - now);
      const neededNs = timeOf(tokens, rate);
      if (onlyNow && neededNs > thereNs) return Infinity;
      const waitNs = Math.max(0, Math.min(neededNs, burstNs) - thereNs);
      // It fails where another thread took tokens, or set the rate, in between: that thread has gone on.
      const next = start + BigInt(neededNs);
      if (Atomics.compareExchange(this.#words, this.#fullAt, fullAt, next) === fullAt) return waitNs;
    }
  }

  /** Puts tokens back that were taken and not used. */
  giveBack(tokens: number): void {
    const rate = this.#number(this.#rate);
    if (rate > 0) Atomics.sub(this.#words, this.#fullAt, BigInt(timeOf(tokens, rate)));
  }
}

/** The ns in which tokens flow in. Rounded down, so that a full bucket never lacks a ns of its last token. */
function timeOf(tokens: number, rate: number): number {
  return Math.floor((tokens * 1e9) / rate);
}

/**
 * The part of a bucket's size that a thread takes in advance, if it is there: then most requests need neither the
 * shared word nor the clock. With N threads, up to N times this much may be used beyond the burst.
 */
const AHEAD = 1 / 1024;

/** One thread's end of a shared bucket. */
export class TokenBucket {
  readonly #shared: SharedBucket;
  /** Tokens that were taken in advance. Infinity where there is no limit. */
  #ahead = 0;

  constructor(shared: SharedBucket) {
    this.#shared = shared;
  }

  /** As `SharedBucket.take`. */
  take(tokens: number): number {
    if (tokens <= this.#ahead) {
      this.#ahead -= tokens;
      return 0;
    }
    const missing = tokens - this.#ahead;
    const more = Math.floor(this.#shared.size * AHEAD);
    if (more > 0 && this.#shared.take(missing + more, true) === 0) {
      this.#ahead = more;
      return 0;
    }
    this.#ahead = 0;
    return this.#shared.take(missing);
  }

  /** As `SharedBucket.giveBack`. */
  giveBack(tokens: number): void {
    this.#shared.giveBack(tokens);
  }

  /** The limit was changed: tokens that were taken in advance are void. */
  reset(): void {
    this.#ahead = 0;
  }
}
