// notify: how long to poll before sleeping, adapted to how long recent work took to arrive. It reads no clock.

/** The measurements that bound polling. */
export interface AdaptivePollOptions {
  /** What sleeping and waking up cost beyond the wait itself, in ns: measured at start. */
  readonly wakeCostNs: number;
  /**
   * How often this thread was preempted, monotonic. A rise while polling shows that other threads need the processor.
   */
  readonly preemptions?: () => number;
}

/** Polling for longer than a few wake-ups never pays off. An absolute bound keeps an idle device idle. */
const WAKE_COSTS_MAX = 4;
const WINDOW_MIN_NS = 4_000;
const WINDOW_MAX_NS = 200_000;
/** After a preemption: how many waits the thread sleeps through before it polls again. */
const PENALTY_WAITS = 64;

/** A `PollPolicy` that adapts the polling window, in ns, to recent waits. */
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
   * Adapts the window to one wait. It stays as it is if polling found the work. It grows after a wait that a longer
   * window would have covered, and shrinks after one that no window would have.
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
