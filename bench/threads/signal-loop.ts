// bench/threads: another design on purpose: the product's event loop, asleep in sigwaitinfo as before #78.
import { EventLoop, type Watch } from '../../src/sys/event-loop.ts';
import type { Pollable } from '../../src/sys/pollable.ts';
import type { Doorbell } from './doorbell.ts';
import type { SleepCounter } from './served-queue.ts';
import type { StopWord } from './shared-queue.ts';

/** For one queue. The rest is the product's, so that a measurement compares the doorbells only. */
export class SignalLoop extends EventLoop {
  readonly #doorbell: Doorbell;
  readonly #stop: StopWord;
  readonly #sleeps: SleepCounter;
  #queue: Pollable | undefined;
  #hasTasks = false;

  /** The loop runs until `stop` is set and the doorbell rung. */
  constructor(doorbell: Doorbell, stop: StopWord, sleeps: SleepCounter) {
    super(sleeps);
    this.#doorbell = doorbell;
    this.#stop = stop;
    this.#sleeps = sleeps;
  }

  /** Ignores the descriptor: the queue's kick is the signal. */
  override watch(fd: number, watch: Watch): Disposable {
    if (watch.pollable === undefined) return super.watch(fd, watch);
    this.#queue = watch.pollable;
    return this.poll(watch.pollable);
  }

  override soon(task: () => void, source?: Pollable): void {
    this.#hasTasks = true;
    super.soon(task, source);
  }

  override turn(timeoutMs: number): boolean {
    if (timeoutMs === 0 || this.#hasTasks) {
      this.#hasTasks = false;
      this.#hasTasks = super.turn(0) || this.#hasTasks;
      return this.#hasTasks;
    }
    this.#doorbell.wait();
    this.#sleeps.slept();
    if (this.#stop.isSet) this.stop();
    // The disk is in memory: no request is pending whose promise would have to settle.
    else this.#queue?.poll();
    return this.#hasTasks;
  }
}
