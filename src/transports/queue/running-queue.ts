// queue: one running queue on its thread: kicks, polling, breakage and stopping.

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

/** How often to check a ring whose driver sends no kicks, while the event loop does not poll it. */
const CHECK_MS = 1;
/** A stop that waits this long for requests in flight is logged; the interval then doubles each time. */
const SLOW_MS = 1000;
/** Requests in flight that a report names. */
const OLDEST_MAX = 16;
/** After this long the signal of the requests is aborted. */
const GRACE_MS = 5000;

/** What a queue needs of the thread it runs on. */
export interface QueueEnvironment {
  readonly device: VirtioDevice;
  readonly loop: EventLoop;
  readonly counters: QueueCounters;
  readonly inFlight: InFlightLimit;
  readonly latency?: { record(ns: number): void };
  readonly log: Log;
  /** Whether no request is to be taken from the rings; of all queues of the device on this thread. */
  readonly pause?: { readonly isOn: boolean };
}

/** One running queue, from construction to `stop`. */
export class RunningQueue implements Pollable {
  /** A field, since a loop that polls reads it at each look. */
  readonly awaitsKernel = false;
  readonly #index: number;
  readonly #setup: QueueSetup;
  readonly #environment: QueueEnvironment;
  readonly #queue: RunnableQueue;
  readonly #abort = new AbortController();
  readonly #kick: EventFd | undefined;
  readonly #watches = new DisposableStack();
  #call: CallTarget | undefined;
  #state: 'running' | 'broken' | 'stopping' = 'running';

  /**
   * Starts the queue. Throws what `open` throws, or SystemError for a kick descriptor that cannot be watched.
   * @param open opens the ring in guest memory.
   */
  constructor(
    index: number,
    setup: QueueSetup,
    environment: QueueEnvironment,
    open: (options: QueueOptions) => RunnableQueue,
  ) {
    this.#index = index;
    this.#setup = setup;
    this.#environment = environment;
    this.#call = setup.call;
    this.#queue = open({
      features: setup.features,
      base: setup.base,
      notify: () => this.#notify(),
      again: () => environment.loop.soon(this.#process, this),
      broken: (problem) => this.#break(problem),
      counters: environment.counters,
      inFlight: environment.inFlight,
      signal: this.#abort.signal,
      log: (line) => environment.log(`queue ${index}: ${line}`, { event: 'refused' }),
      ...(environment.latency && { latency: environment.latency }),
    });
    this.#kick = setup.kickFd === undefined ? undefined : EventFd.borrow(setup.kickFd);
    this.#listen();
    try {
      environment.device.queueStarted?.(index, this.#queue);
    } catch (error) {
      this.#break(error as Error);
    }
    // The ring may hold requests whose kick came earlier, or never; the driver may have missed a notification.
    environment.loop.soon(this.#process, this);
    notify(this.#call);
  }

  #listen(): void {
    const { loop } = this.#environment;
    if (this.#kick !== undefined) {
      this.#watches.use(loop.watch(this.#kick.fd, { readable: this.#onKick, pollable: this }));
      return;
    }
    const look = (): void => {
      timer = loop.timer(CHECK_MS, look);
      if (this.#queue.hasWork()) this.#process();
    };
    let timer = loop.timer(CHECK_MS, look);
    this.#watches.use(loop.poll(this));
    this.#watches.defer(() => timer[Symbol.dispose]());
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
    this.#environment.counters.kicks++;
    this.#environment.counters.lastKickMs = performance.now();
  }

  readonly #process = (): void => {
    if (this.#state !== 'running' || this.#environment.pause?.isOn === true) return;
    try {
      this.#environment.device.process(this.#index, this.#queue);
    } catch (error) {
      this.#break(error as Error);
    }
  };

  /** Serves what came while requests were not to be taken. */
  resume(): void {
    this.#environment.loop.soon(this.#process, this);
  }

  #notify(): void {
    this.#environment.counters.lastCallMs = performance.now();
    notify(this.#call);
  }

  /** Returns whether it took a request: work that the device leaves in the ring is no progress. */
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
    return this.#environment.device.isSettled ?? this.#queue.inService === 0;
  }

  /** Changes the target of notifications, and notifies it once. */
  setCall(call: CallTarget | undefined): void {
    this.#call = call;
    notify(call);
  }

  #break(problem: Error): void {
    this.#stopServing(`${problem instanceof DriverError ? '' : 'the device failed: '}${problem.message}`);
  }

  #stopServing(why: string): void {
    if (this.#state !== 'running') return;
    this.#state = 'broken';
    this.#queue.close();
    this.#watches.dispose();
    if (this.#setup.errFd !== undefined) EventFd.borrow(this.#setup.errFd).signal();
    this.#environment.log(`queue ${this.#index} stopped until the driver resets it: ${why}`, {
      event: 'queue-stopped',
    });
  }

  /**
   * Takes no more requests, and waits for those in flight. Afterwards nothing touches guest memory, and the ring
   * requests kicks.
   */
  async stop(): Promise<QueueStop> {
    const broken = this.#state === 'broken';
    this.#state = 'stopping';
    this.#queue.close();
    this.#watches.dispose();
    const slowStop = this.#watchSlowStop();
    await this.#stopDeviceQueue();
    this.#queue.publish();
    await this.#idle();
    slowStop[Symbol.dispose]();
    this.#queue.rearm();
    return { base: this.#queue.base, broken };
  }

  /** Waits for the requests in flight. A device that is settled may finish the last one. */
  #idle(): Promise<void> {
    return new Promise((resolve) =>
      this.#queue.whenIdle(() => {
        resolve();
        // The loop must not sleep before this promise has settled.
        this.#environment.loop.soon(() => {});
      }),
    );
  }

  /** Calls `queueStopping`. If that fails, the device may still hold buffers; `stop` waits for them like for others. */
  async #stopDeviceQueue(): Promise<void> {
    try {
      await this.#environment.device.queueStopping?.(this.#index);
    } catch (error) {
      this.#environment.log(`queue ${this.#index}: the device failed to stop it: ${(error as Error).message}`);
    }
  }

  /** Until disposed, logs what the stop waits for, less and less often, and aborts the requests after GRACE_MS. */
  #watchSlowStop(): Disposable {
    const { loop, log } = this.#environment;
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
    const abort = loop.timer(GRACE_MS, () => this.#abort.abort(new Error('the queue has to stop')));
    return {
      [Symbol.dispose]: () => {
        timer[Symbol.dispose]();
        abort[Symbol.dispose]();
      },
    };
  }

  /** Reports the queue as it is now. */
  report(): QueueReport {
    const report = reportOf(this.#index, this.#state, this.#queue.state(), this.#environment.counters);
    const oldest = this.#queue.oldest?.(OLDEST_MAX);
    return oldest === undefined ? report : { ...report, oldest };
  }
}

function notify(call: CallTarget | undefined): void {
  if (call === undefined) return;
  if ('fd' in call) EventFd.borrow(call.fd).signal();
  else call.notify();
}
