// Cellar: how long to poll before sleeping, learned from how long work let us wait. Pure; time comes in, a window goes out.

export interface AdaptivePollOptions {
  /** What a sleep costs beyond the wait itself, in ns: measured at start. */
  readonly wakeCostNs: number;
  /** How often this thread lost its processor while it had work; grows for ever. A rise while polling says that somebody needs the core. */
  readonly preemptions?: () => number;
}

/** Polling for longer than a few wake-ups is never repaid, and a bound in time keeps an idle device idle. */
const WAKE_COSTS_MAX = 4;
const WINDOW_MIN_NS = 4_000;
const WINDOW_MAX_NS = 200_000;
/** How many waits are slept through before polling is tried again on a core that others wanted. */
const PENALTY_WAITS = 64;

export class AdaptivePoll {
  readonly #maxNs: number;
  readonly #preemptions: (() => number) | undefined;
  #windowNs = 0;
  #seen = 0;
  #penalty = 0;

  constructor(options: AdaptivePollOptions) {
    this.#maxNs = Math.min(WINDOW_MAX_NS, Math.max(2 * WINDOW_MIN_NS, WAKE_COSTS_MAX * options.wakeCostNs));
    this.#preemptions = options.preemptions;
    this.#seen = options.preemptions?.() ?? 0;
  }

  /** Nanoseconds to poll before the next sleep. */
  pollNs(): number {
    return this.#windowNs;
  }

  /**
   * Learns from one wait. Polling that found the work was right. A wait a little longer than the window wants a longer window;
   * one that no window would have covered wants none.
   */
  waited(ns: number, foundByPolling: boolean): void {
    if (foundByPolling) return;
    const preemptions = this.#preemptions?.() ?? 0;
    if (this.#windowNs > 0 && preemptions > this.#seen) this.#penalty = PENALTY_WAITS;
    this.#seen = preemptions;
    if (this.#penalty > 0) {
      this.#penalty--;
      this.#windowNs = 0;
    } else if (ns > this.#maxNs) {
      this.#windowNs = this.#windowNs >= 2 * WINDOW_MIN_NS ? this.#windowNs / 2 : 0;
    } else {
      this.#windowNs = Math.min(this.#maxNs, Math.max(WINDOW_MIN_NS, 2 * ns, 2 * this.#windowNs));
    }
  }
}
