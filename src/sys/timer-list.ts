// sys: the timers of an event loop, on one timerfd.
import { TimerFd } from './timer-fd.ts';

interface Timer {
  readonly dueMs: number;
  readonly task: () => void;
}

/** One-shot timers, all on one timerfd. */
export class TimerList implements Disposable {
  /** Soonest first. */
  #timers: readonly Timer[] = [];
  readonly #clock = new TimerFd();
  readonly #watching: Disposable;

  /** @param watch makes the loop call `expired` while a descriptor is readable. */
  constructor(watch: (fd: number, expired: () => void) => Disposable) {
    this.#watching = watch(this.#clock.fd, () => this.#expired());
  }

  /** Calls `task` once, after `delayMs`, unless disposed before. */
  add(delayMs: number, task: () => void): Disposable {
    const timer = { dueMs: performance.now() + delayMs, task };
    const at = this.#timers.findIndex(({ dueMs }) => dueMs > timer.dueMs);
    this.#timers = this.#timers.toSpliced(at < 0 ? this.#timers.length : at, 0, timer);
    if (this.#timers[0] === timer) this.#arm();
    return {
      [Symbol.dispose]: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  #arm(): void {
    const [next] = this.#timers;
    if (next === undefined) return;
    // A delay of 0 would disarm the clock.
    this.#clock.set(Math.max(0.001, next.dueMs - performance.now()));
  }

  #expired(): void {
    this.#clock.expirations();
    const nowMs = performance.now();
    const due = this.#timers.filter(({ dueMs }) => dueMs <= nowMs);
    try {
      for (const timer of due) {
        if (!this.#timers.includes(timer)) continue; // disposed by an earlier one
        this.#timers = this.#timers.filter((other) => other !== timer);
        timer.task();
      }
    } finally {
      this.#arm();
    }
  }

  [Symbol.dispose](): void {
    this.#timers = [];
    this.#watching[Symbol.dispose]();
    this.#clock[Symbol.dispose]();
  }
}
