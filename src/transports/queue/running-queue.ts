// Ground floor: one running queue on its owner thread: a kick, a look or a start drains it; the driver's mistakes end here.
import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import type { Pollable } from '../../sys/pollable.ts';
import { TimerFd } from '../../sys/timer-fd.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import { DRAIN_MAX } from '../../virtio/device-queue.ts';
import type { SplitQueue } from '../../virtio/split/split-queue.ts';

/** How often a ring is looked at whose front end sends no kicks and that is not being polled anyway. */
const LOOK_MS = 1;

export class QueueRunner implements Pollable {
  readonly queue: SplitQueue;
  readonly #device: VirtioDevice;
  readonly #index: number;
  readonly #loop: EventLoop;
  readonly #onBroken: (problem: Error) => void;
  readonly #kick: EventFd | undefined;
  readonly #timer: TimerFd | undefined;
  readonly #watch: Disposable;
  #running = true;
  #broken = false;

  constructor(
    queue: SplitQueue,
    device: VirtioDevice,
    index: number,
    loop: EventLoop,
    kickFd: number | undefined,
    onBroken: (problem: Error) => void,
  ) {
    this.queue = queue;
    this.#device = device;
    this.#index = index;
    this.#loop = loop;
    this.#onBroken = onBroken;
    if (kickFd === undefined) {
      this.#timer = new TimerFd();
      this.#timer.set(LOOK_MS, LOOK_MS);
    } else {
      this.#kick = EventFd.borrow(kickFd);
    }
    this.#watch = loop.watch(kickFd ?? (this.#timer as TimerFd).fd, { readable: this.#onKick, pollable: this });
    // The ring may hold requests whose kick came long ago, or never.
    loop.soon(this.#process);
  }

  readonly #onKick = (): void => {
    try {
      if (this.#timer !== undefined) this.#timer.expirations();
      else if (this.#kick?.clear()) this.#countKick();
    } catch (error) {
      this.#break(error as Error);
    }
    this.#process();
  };

  #countKick(): void {
    this.queue.counters.kicks++;
    this.queue.counters.lastKickMs = performance.now();
  }

  readonly #process = (): void => {
    if (!this.#running) return;
    try {
      if (this.#device.process(this.queue, this.#index) >= DRAIN_MAX) this.#loop.soon(this.#process);
    } catch (error) {
      this.#break(error as Error);
    }
  };

  poll(): boolean {
    if (!this.queue.hasWork()) return false;
    this.#process();
    return true;
  }

  suppress(): void {
    this.queue.suppress();
  }

  rearm(): boolean {
    return this.queue.rearm();
  }

  get isSettled(): boolean {
    return this.queue.inFlight === 0;
  }

  /** Whether it halted because the driver, or who kicks, made a mistake. */
  get broken(): boolean {
    return this.#broken;
  }

  #break(problem: Error): void {
    this.#broken = true;
    this.#halt();
    this.#onBroken(problem);
  }

  #halt(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#watch[Symbol.dispose]();
    this.#timer?.[Symbol.dispose]();
  }

  /** Takes no more requests; `done` is called when the ones in flight are done. */
  stop(done: () => void): void {
    this.#halt();
    this.queue.whenIdle(done);
  }
}
