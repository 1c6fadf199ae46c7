// bench/threads: waits for calls of a device that loses kicks: detects and counts each loss, and kicks again.
import { readFileSync } from 'node:fs';
import { Epoll } from '../../src/sys/epoll.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { type Completions, StallError } from '../load/completion-wait.ts';
import type { DriverRing } from '../load/driver-ring.ts';
import { sleepsUnrung } from './doorbell.ts';

const STALL_MS = 5000;

export interface NudgingWaitOptions {
  readonly ring: DriverRing;
  readonly callFd: number;
  readonly kick: Pick<EventFd, 'signal'>;
  /** The device's thread. */
  readonly thread: number;
  readonly nudgeAfterMs: number;
}

export class NudgingWait implements Completions, Disposable {
  /** Times the device slept with requests available and no kick pending. */
  lostKicks = 0;
  calls = 0;
  readonly #options: NudgingWaitOptions;
  readonly #call: EventFd;
  readonly #epoll = new Epoll();

  constructor(options: NudgingWaitOptions) {
    this.#options = options;
    this.#call = EventFd.borrow(options.callFd);
    this.#epoll.add(options.callFd, 0);
  }

  resetCalls(): void {
    this.calls = 0;
    this.lostKicks = 0;
  }

  next(): number {
    const { ring } = this.#options;
    for (let count = ring.completed() || ring.rearm(); ; count = ring.completed() || ring.rearm()) {
      if (count > 0) return count;
      this.#sleep();
      this.calls++;
    }
  }

  #sleep(): void {
    const { nudgeAfterMs, thread, kick, ring } = this.#options;
    for (let waitedMs = 0; this.#epoll.wait(nudgeAfterMs) === 0 || !this.#call.clear(); waitedMs += nudgeAfterMs) {
      if (sleepsUnrung(readFileSync(`/proc/self/task/${thread}/status`, 'utf8')) && ring.completed() === 0) {
        this.lostKicks++;
        kick.signal();
      }
      if (waitedMs >= STALL_MS) throw new StallError(`nothing used for ${STALL_MS / 1000} s; ${ring}`);
    }
  }

  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
  }
}
