// virtio: a token bucket for one thread of a device, which asks it how long to sleep.

/** Tokens flow in at a constant rate, up to what the bucket holds. It is full at first. */
export class RateLimiter {
  /** How many tokens it holds at most. */
  readonly size: number;
  readonly #perMs: number;
  readonly #now: () => number;
  #tokens: number;
  #seenMs: number;

  /**
   * @param perSecond tokens a second.
   * @param burstSeconds what it saves up while nothing is taken, in seconds of that. It holds one token at least.
   * @param now the clock, in ms. Default: `performance.now`.
   */
  constructor(perSecond: number, burstSeconds = 1, now: () => number = () => performance.now()) {
    this.size = Math.max(1, perSecond * burstSeconds);
    this.#perMs = perSecond / 1000;
    this.#now = now;
    this.#tokens = this.size;
    this.#seenMs = now();
  }

  /** The tokens that are there. Negative: a debt, after more were taken than there were. */
  get tokens(): number {
    const nowMs = this.#now();
    this.#tokens = Math.min(this.size, this.#tokens + (nowMs - this.#seenMs) * this.#perMs);
    this.#seenMs = nowMs;
    return this.#tokens;
  }

  take(tokens: number): void {
    this.#tokens -= tokens;
  }

  /** In how many whole ms there are `tokens`, which is at most `size`; 0 where there are. */
  msUntil(tokens: number): number {
    return Math.max(0, Math.ceil((tokens - this.tokens) / this.#perMs));
  }
}
