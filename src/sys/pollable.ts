// Cellar: what an event loop can look at before it sleeps, and what decides for how long.

/** A source of work that can be looked at without a system call. */
export interface Pollable {
  /** Does the work that is there. Returns whether it got anywhere. */
  poll(): boolean;
  /** Asks the other side for no notifications: it is being polled. */
  suppress(): void;
  /** Asks for notifications again. Returns true when work arrived meanwhile, for which none will come: call `poll` once more. */
  rearm(): boolean;
  /** False while a promise of its work may be waiting for its turn: the loop lets promises settle before it sleeps. */
  readonly isSettled: boolean;
}

/** How long to poll before sleeping, learned or fixed. */
export interface PollPolicy {
  /** Nanoseconds to poll from now; 0 sleeps at once. */
  pollNs(): number;
  /** Takes in how long the loop was without work, polling and sleeping together, in ns, and whether polling found it. */
  waited(ns: number, foundByPolling: boolean): void;
}
