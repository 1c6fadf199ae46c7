// sys: what an event loop polls before it sleeps, and the policy that decides for how long.

/** A source of work that can be polled without a system call. */
export interface Pollable {
  /** Does the work that is available. Returns whether there was any. */
  poll(): boolean;
  /** Asks the other side for no notifications while it is being polled. */
  suppress(): void;
  /**
   * Asks for notifications again. Returns true when work arrived meanwhile, which may not be notified: call `poll` once
   * more.
   */
  rearm(): boolean;
  /** False while a promise of its work may be pending: the loop lets promises settle before it sleeps. */
  readonly isSettled: boolean;
  /**
   * True while the kernel works for it, perhaps in a thread that needs this processor: the loop sleeps at once, and does
   * not poll. Default false.
   */
  readonly awaitsKernel?: boolean;
}

/** How long to poll before sleeping: adaptive or fixed. */
export interface PollPolicy {
  /** Nanoseconds to poll from now; 0: sleep at once. */
  pollNs(): number;
  /**
   * Reports how long the loop was without work, in ns (polling and sleeping together), and whether polling found the
   * next work.
   */
  waited(ns: number, foundByPolling: boolean): void;
}
