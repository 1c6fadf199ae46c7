// bench/handoff: driver, dispatcher and worker on threads of their own, and the memory they share; one round at a time.

import assert from 'node:assert/strict';
import { moduleBeside } from '../../src/sys/thread.ts';
import type { QueuePlan } from '../load/queue-plan.ts';
import { disturbanceBetween, sampleProcessors } from '../processor-use.ts';
import type { BenchStore } from '../threads/bench-store.ts';
import { BenchThread } from '../threads/bench-thread.ts';
import type { DriverJob, DriverResult, DriverSetup } from '../threads/driver-job.ts';
import { memoryBytesOf, planOnlyQueue } from '../threads/ring-memory.ts';
import { SharedQueue } from '../threads/shared-queue.ts';
import { HANDOFF_LOADS, type HandoffLoad } from './handoff-cases.ts';
import type { Design, HandoffCounts, HandoffCpus, HandoffJob, HandoffSetup } from './handoff-job.ts';
import { type HandoffMeasurement, handoffMeasurement } from './handoff-result.ts';
import { RequestQueue } from './request-queue.ts';

const DISPATCHER = moduleBeside('./dispatcher-thread', import.meta.url);
const WORKER = moduleBeside('./worker-thread', import.meta.url);
const DRIVER = moduleBeside('../threads/driver-thread', import.meta.url);

/** A round ends when the first bound is reached. */
export interface RoundBounds {
  readonly seconds: number;
  readonly requests: number;
}

interface Parts {
  readonly diskBytes: number;
  readonly cpus: HandoffCpus;
  readonly plans: ReadonlyMap<HandoffLoad, QueuePlan>;
  readonly queue: SharedQueue;
  readonly requests: RequestQueue;
  readonly worker: BenchThread<HandoffJob, HandoffCounts>;
  readonly dispatcher: BenchThread<HandoffJob, HandoffCounts>;
  readonly driver: BenchThread<DriverJob, DriverResult>;
  readonly resources: AsyncDisposableStack;
}

export class HandoffStage implements AsyncDisposable {
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Starts the threads. Throws SystemError. */
  static async open(store: BenchStore, cpus: HandoffCpus): Promise<HandoffStage> {
    await using resources = new AsyncDisposableStack();
    const plans = new Map(HANDOFF_LOADS.map((load) => [load, planOnlyQueue(load.depth, load.blockBytes)]));
    const queue = resources.use(new SharedQueue('belfry-handoff', memoryBytesOf([...plans.values()])));
    const requestsMax = Math.max(...[...plans.values()].map(({ size }) => size));
    const shared = new SharedArrayBuffer(RequestQueue.sharedBytes(requestsMax));
    const requests = new RequestQueue(shared, requestsMax);
    const driverSetup: DriverSetup = { memory: queue.memory, callFd: queue.call.fd };
    const setup: HandoffSetup = {
      ...driverSetup,
      store: store.description,
      kickFd: queue.kick.fd,
      stop: queue.stop.shared,
      stopFd: queue.stopEvent.fd,
      requests: shared,
      requestsMax,
    };
    const begin = async <Job, Result>(program: URL, data: unknown): Promise<BenchThread<Job, Result>> =>
      resources.use(await BenchThread.start<Job, Result>(program, data, () => stopServing(queue, requests)));
    const worker = await begin<HandoffJob, HandoffCounts>(WORKER, setup);
    const dispatcher = await begin<HandoffJob, HandoffCounts>(DISPATCHER, setup);
    const driver = await begin<DriverJob, DriverResult>(DRIVER, driverSetup);
    const threads = { worker, dispatcher, driver, resources: resources.move() };
    return new HandoffStage({ diskBytes: store.sizeBytes, cpus, plans, queue, requests, ...threads });
  }

  /** Runs one round. Throws what a thread threw. */
  async round(load: HandoffLoad, design: Design, bounds: RoundBounds): Promise<HandoffMeasurement> {
    const { plans, queue, requests, worker, dispatcher, driver, cpus, diskBytes } = this.#parts;
    const plan = plans.get(load);
    assert(plan !== undefined, `no queue is planned for ${load.name}`);
    queue.renew(plan);
    requests.clear();
    const common = { plan, eventIdx: true };
    const serving = [worker.run({ ...common, design, cpu: cpus.worker })];
    if (design !== 'none') serving.push(dispatcher.run({ ...common, design, cpu: cpus.dispatcher }));
    await Promise.all(serving.map(({ ready }) => ready));
    const from = sampleProcessors(undefined);
    const driving = driver.run({
      ...common,
      ...bounds,
      random: load.random,
      diskBytes,
      seed: 1,
      cpu: cpus.driver,
      kick: { kind: 'eventfd', fd: queue.kick.fd, thread: worker.thread },
      nudgeAfterMs: undefined,
    });
    await Promise.race([driving.result, ...serving.map(({ result }) => result)]);
    const to = sampleProcessors(undefined);
    stopServing(queue, requests);
    const driven = await driving.result;
    const served = await Promise.all(serving.map(({ result }) => result));
    return handoffMeasurement(load, driven, served, disturbanceBetween(from, to));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.resources.disposeAsync();
  }
}

/** Sets the stop word and wakes the threads that wait, for the kick or for the monitor. */
function stopServing({ stop, stopEvent, kick }: SharedQueue, { monitor }: RequestQueue): void {
  stop.set(true);
  stopEvent.signal();
  kick.signal();
  monitor.lock();
  monitor.signal();
  monitor.unlock();
}
