// bench/load: waits for the device to use descriptors, by polling or asleep, and detects a stall.
import { readFileSync } from 'node:fs';
import { Epoll } from '../../src/sys/epoll.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { TimerFd } from '../../src/sys/timer-fd.ts';
import type { DriverRing } from './driver-ring.ts';
import type { Wait } from './load-spec.ts';

const STALL_MS = 5000;
const LOOKS_BEFORE_CLOCK = 4096;
/** Also the most time counted between two reads of the clock: a process that was stopped has not waited. */
const SLEEP_MS = 200;

/** Requests are in flight and the device has used none for long: five seconds by default. */
export class StallError extends Error {
  readonly code = 'BELFRY_STALL';
}

/** How a load loop waits for used elements. */
export interface Completions {
  /** Waits for used elements and returns how many there are, at least one. Throws StallError. */
  next(): number;
  /** Notifications by the device since `resetCalls`. Asleep, those that came together count as one. */
  readonly calls: number;
  resetCalls(): void;
}

/** Completions with a deadline. */
export interface PacedCompletions extends Completions {
  /** As `next`; returns 0 when `performance.now()` reaches `untilMs` before anything was used. */
  nextBefore(untilMs: number): number;
}

export class CompletionWait implements PacedCompletions, Disposable {
  readonly #ring: DriverRing;
  readonly #polls: boolean;
  readonly #stallMs: number;
  readonly #call: EventFd;
  readonly #epoll = new Epoll();
  #timer: TimerFd | undefined;
  #wakes = 0;
  #callsBefore = 0;

  /** @param stallMs after which a device that uses nothing is a stall. */
  constructor(ring: DriverRing, wait: Wait, callFd: number, stallMs = STALL_MS) {
    this.#stallMs = stallMs;
    this.#ring = ring;
    this.#polls = wait === 'poll';
    this.#call = EventFd.adopt(callFd);
    this.#epoll.add(callFd, 0);
    if (this.#polls) ring.suppress();
  }

  get calls(): number {
    return this.#wakes + pendingCount(this.#call.fd) - this.#callsBefore;
  }

  resetCalls(): void {
    this.#callsBefore = this.#wakes + pendingCount(this.#call.fd);
  }

  next(): number {
    return this.#ring.completed() || (this.#polls ? this.#look() : this.#sleep());
  }

  /** Sleeps, even if `wait` is `poll`. */
  nextBefore(untilMs: number): number {
    for (;;) {
      const count = this.#ring.completed() || this.#ring.rearm();
      const leftMs = untilMs - performance.now();
      if (count > 0 || leftMs <= 0) return count;
      this.#sleepFor(leftMs);
    }
  }

  #sleepFor(ms: number): void {
    if (this.#timer === undefined) {
      this.#timer = new TimerFd();
      this.#epoll.add(this.#timer.fd, 1);
    }
    // A timerfd, since the timeout of epoll_wait is in whole milliseconds.
    this.#timer.set(ms);
    this.#epoll.wait(-1);
    // Disarmed, so that it does not end the next sleep.
    this.#timer.set(0);
    if (this.#call.clear()) this.#wakes++;
  }

  #look(): number {
    let waitedMs = 0;
    for (let looks = 1, beforeMs = performance.now(); ; looks++) {
      const count = this.#ring.completed();
      if (count > 0) return count;
      if (looks % LOOKS_BEFORE_CLOCK !== 0) continue;
      const nowMs = performance.now();
      waitedMs += Math.min(SLEEP_MS, nowMs - beforeMs);
      beforeMs = nowMs;
      if (waitedMs >= this.#stallMs) throw this.#stall();
    }
  }

  #sleep(): number {
    for (;;) {
      const early = this.#ring.rearm();
      if (early > 0) return early;
      // Only a call ends the sleep: a device that omits one stalls the load here, as it would stall a guest.
      for (let waitedMs = 0; this.#epoll.wait(SLEEP_MS) === 0 || !this.#call.clear(); waitedMs += SLEEP_MS) {
        if (waitedMs >= this.#stallMs) throw this.#stall();
      }
      this.#wakes++;
      const count = this.#ring.completed();
      if (count > 0) return count;
    }
  }

  #stall(): StallError {
    const call = this.#call.clear() ? 'a call is pending' : 'no call is pending';
    return new StallError(`nothing used for ${this.#stallMs / 1000} s; ${this.#ring}; ${call}`);
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#epoll[Symbol.dispose]();
  }
}

/** Returns the count of an eventfd without reading it: proc(5), fdinfo. */
export function pendingCount(fd: number): number {
  const [, hex = '0'] = /^eventfd-count:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
  return Number.parseInt(hex, 16);
}
