// Cellar: what an event loop can look at before it sleeps, and who tells it for how long.

/** A source that can be looked at without a system call. */
export interface Pollable {
  /** Does what there is to do; true if there was something. */
  poll(): boolean;
  /** Asks the other side not to ring: it is being polled. */
  suppress(): void;
  /** Asks the other side to ring again; true when work arrived meanwhile, for which no ring will come: `poll` once more. */
  rearm(): boolean;
}

/** How long to poll before sleeping, learned or fixed. */
export interface PollPolicy {
  /** Nanoseconds to poll from now; 0 sleeps at once. */
  pollNs(): number;
  /** Reports how long the loop waited for work, polling and sleeping together, in ns, and whether polling found it. */
  waited(ns: number, foundByPolling: boolean): void;
}
