// daemon: how long to wait before what failed is started again.

export interface BackOffOptions {
  /** The delay after the second failure in a row; it doubles with each. Default: 10 ms. */
  readonly firstMs?: number;
  /** Default: 10 s. */
  readonly longestMs?: number;
  /** What ran for so long did well: the next failure counts as the first. Default: 5 s. */
  readonly goodMs?: number;
}

/** No delay after the first failure, then growing ones. */
export class BackOff {
  readonly #options: Required<BackOffOptions>;
  #failures = 0;

  constructor({ firstMs = 10, longestMs = 10_000, goodMs = 5000 }: BackOffOptions = {}) {
    this.#options = { firstMs, longestMs, goodMs };
  }

  /** Returns the delay after a failure of what ran for `ranMs`, in milliseconds. */
  after(ranMs: number): number {
    const { firstMs, longestMs, goodMs } = this.#options;
    if (ranMs >= goodMs) this.#failures = 0;
    const delayMs = this.#failures === 0 ? 0 : Math.min(firstMs * 2 ** (this.#failures - 1), longestMs);
    this.#failures++;
    return delayMs;
  }
}
