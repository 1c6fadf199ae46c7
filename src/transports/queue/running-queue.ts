// Ground floor: one queue that runs, on its owner thread: kicked, polled, broken, stopped. The one place that knows which.

import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import type { Pollable } from '../../sys/pollable.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import { DriverError } from '../../virtio/errors.ts';
import type { InFlightLimit } from '../../virtio/in-flight-limit.ts';
import type { Log } from '../../virtio/log.ts';
import type { QueueCounters } from '../../virtio/queue-counters.ts';
import type { QueueOptions, RunnableQueue } from '../../virtio/ring-format.ts';
import type { CallTarget, QueueSetup, QueueStop } from './queue-host.ts';
import { type QueueReport, reportOf } from './queue-report.ts';

/** How often a ring is looked at whose driver sends no kicks, and that is not being polled anyway. */
const LOOK_MS = 1;
/** A queue that waits so long for its requests in flight says so, and again after twice as long, and so on. */
const SLOW_MS = 1000;
/** After so long its requests are told to give up: their signal is aborted. */
const GRACE_MS = 5000;

/** What a queue needs of the thread it runs on. */
export interface QueueSurroundings {
  readonly device: VirtioDevice;
  readonly loop: EventLoop;
  readonly counters: QueueCounters;
  readonly inFlight: InFlightLimit;
  readonly latency?: { record(ns: number): void };
  readonly log: Log;
}

export class RunningQueue implements Pollable {
  readonly #index: number;
  readonly #setup: QueueSetup;
  readonly #around: QueueSurroundings;
  readonly #queue: RunnableQueue;
  readonly #abort = new AbortController();
  readonly #kick: EventFd | undefined;
  readonly #listening = new DisposableStack();
  #call: CallTarget | undefined;
  #state: 'running' | 'broken' | 'stopping' = 'running';

  /**
   * Runs from now on. Throws what `open` throws, or SystemError for a kick that cannot be watched.
   * @param open opens the ring in guest memory.
   */
  constructor(
    index: number,
    setup: QueueSetup,
    around: QueueSurroundings,
    open: (options: QueueOptions) => RunnableQueue,
  ) {
    this.#index = index;
    this.#setup = setup;
    this.#around = around;
    this.#call = setup.call;
    this.#queue = open({
      features: setup.features,
      base: setup.base,
      notify: () => this.#notify(),
      again: () => around.loop.soon(this.#process),
      broken: (problem) => this.#break(problem),
      counters: around.counters,
      inFlight: around.inFlight,
      signal: this.#abort.signal,
      ...(around.latency && { latency: around.latency }),
    });
    this.#kick = setup.kickFd === undefined ? undefined : EventFd.borrow(setup.kickFd);
    this.#listen();
    try {
      around.device.queueStarted?.(index, this.#queue);
    } catch (error) {
      this.#break(error as Error);
    }
    // The ring may hold requests whose kick came long ago, or never; the driver may have missed a notification.
    around.loop.soon(this.#process);
    ring(this.#call);
  }

  #listen(): void {
    const { loop } = this.#around;
    if (this.#kick !== undefined) {
      this.#listening.use(loop.watch(this.#kick.fd, { readable: this.#onKick, pollable: this }));
      return;
    }
    const look = (): void => {
      timer = loop.timer(LOOK_MS, look);
      if (this.#queue.hasWork()) this.#process();
    };
    let timer = loop.timer(LOOK_MS, look);
    this.#listening.use(loop.poll(this));
    this.#listening.defer(() => timer[Symbol.dispose]());
  }

  readonly #onKick = (): void => {
    try {
      if (this.#kick?.clear() === true) this.#countKick();
    } catch (error) {
      return this.#stopServing(`its kick cannot be read: ${(error as Error).message}`);
    }
    this.#process();
  };

  #countKick(): void {
    this.#around.counters.kicks++;
    this.#around.counters.lastKickMs = performance.now();
  }

  readonly #process = (): void => {
    if (this.#state !== 'running') return;
    try {
      this.#around.device.process(this.#index, this.#queue);
    } catch (error) {
      this.#break(error as Error);
    }
  };

  #notify(): void {
    this.#around.counters.lastCallMs = performance.now();
    ring(this.#call);
  }

  /** Work that the device leaves in the ring is no progress. */
  poll(): boolean {
    if (!this.#queue.hasWork()) return false;
    const { base } = this.#queue;
    this.#process();
    return this.#queue.base !== base;
  }

  suppress(): void {
    this.#queue.suppress();
  }

  rearm(): boolean {
    return this.#queue.rearm();
  }

  get isSettled(): boolean {
    return this.#queue.inService === 0;
  }

  /** Changes where it notifies, and notifies there once. */
  setCall(call: CallTarget | undefined): void {
    this.#call = call;
    ring(call);
  }

  #break(problem: Error): void {
    this.#stopServing(`${problem instanceof DriverError ? '' : 'the device failed: '}${problem.message}`);
  }

  #stopServing(why: string): void {
    if (this.#state !== 'running') return;
    this.#state = 'broken';
    this.#queue.close();
    this.#listening.dispose();
    if (this.#setup.errFd !== undefined) EventFd.borrow(this.#setup.errFd).signal();
    this.#around.log(`queue ${this.#index} stopped until the driver resets it: ${why}`, { event: 'queue-stopped' });
  }

  /** Takes no more requests, and waits for those in flight. Afterwards nothing touches guest memory, and the ring asks to be kicked. */
  async stop(): Promise<QueueStop> {
    const broken = this.#state === 'broken';
    this.#state = 'stopping';
    this.#queue.close();
    this.#listening.dispose();
    const patience = this.#losePatience();
    await this.#tellDevice();
    this.#queue.publish();
    await new Promise<void>((resolve) => this.#queue.whenIdle(resolve));
    patience[Symbol.dispose]();
    this.#queue.rearm();
    return { base: this.#queue.base, broken };
  }

  /** A device that fails here may hold buffers still: they are waited for like others. */
  async #tellDevice(): Promise<void> {
    try {
      await this.#around.device.queueStopping?.(this.#index);
    } catch (error) {
      this.#around.log(`queue ${this.#index}: the device failed to stop it: ${(error as Error).message}`);
    }
  }

  /** Says what is waited for, more and more rarely, and tells the requests to give up. */
  #losePatience(): Disposable {
    const { loop, log } = this.#around;
    const startedMs = performance.now();
    let timer: Disposable;
    const wait = (delayMs: number): void => {
      timer = loop.timer(delayMs, () => {
        const waited = Math.round((performance.now() - startedMs) / 1000);
        const what = `${this.#queue.inFlight} requests that its device has not finished`;
        log(`queue ${this.#index} is to stop, and has waited ${waited} s for ${what}`, { event: 'queue-waits' });
        wait(2 * delayMs);
      });
    };
    wait(SLOW_MS);
    const giveUp = loop.timer(GRACE_MS, () => this.#abort.abort(new Error('the queue has to stop')));
    return {
      [Symbol.dispose]: () => {
        timer[Symbol.dispose]();
        giveUp[Symbol.dispose]();
      },
    };
  }

  /** As it is now. */
  report(): QueueReport {
    return reportOf(this.#index, this.#state, this.#queue.state(), this.#around.counters);
  }
}

function ring(call: CallTarget | undefined): void {
  if (call === undefined) return;
  if ('fd' in call) EventFd.borrow(call.fd).signal();
  else call.ring();
}
