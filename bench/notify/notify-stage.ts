// bench/notify: driver and device on threads of their own, and the memory they share. Runs one round at a time.

import assert from 'node:assert/strict';
import { moduleBeside } from '../../src/sys/thread.ts';
import type { QueuePlan } from '../load/queue-plan.ts';
import { disturbanceBetween, sampleProcessors } from '../processor-use.ts';
import type { BenchStore } from '../threads/bench-store.ts';
import { BenchThread } from '../threads/bench-thread.ts';
import { ringerOf } from '../threads/doorbell.ts';
import type { DriverJob, DriverResult, DriverSetup } from '../threads/driver-job.ts';
import { memoryBytesOf, planOnlyQueue } from '../threads/ring-memory.ts';
import { SharedQueue } from '../threads/shared-queue.ts';
import type { DeviceCounts, DeviceJob, DeviceSetup } from './device-job.ts';
import { LOADS, type NotifyLoad, type NotifyVariant, pollMode } from './notify-cases.ts';
import { type NotifyRound, notifyRound, type Placement } from './notify-result.ts';

const DEVICE = moduleBeside('./device-thread', import.meta.url);
const DRIVER = moduleBeside('../threads/driver-thread', import.meta.url);
/** Much longer than a wake-up, much shorter than a round. */
const NUDGE_AFTER_MS = 10;

interface Parts {
  readonly diskBytes: number;
  readonly fixedPollUs: number;
  readonly plans: ReadonlyMap<NotifyLoad, QueuePlan>;
  readonly queue: SharedQueue;
  readonly device: BenchThread<DeviceJob, DeviceCounts>;
  readonly driver: BenchThread<DriverJob, DriverResult>;
  readonly resources: AsyncDisposableStack;
}

export class NotifyStage implements AsyncDisposable {
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Starts the threads. Throws SystemError. */
  static async open(store: BenchStore, fixedPollUs: number): Promise<NotifyStage> {
    await using resources = new AsyncDisposableStack();
    const plans = new Map(LOADS.map((load) => [load, planOnlyQueue(load.depth, load.blockBytes)]));
    const queue = resources.use(new SharedQueue('belfry-notify', memoryBytesOf([...plans.values()])));
    const driverSetup: DriverSetup = { memory: queue.memory, callFd: queue.call.fd };
    const setup: DeviceSetup = {
      ...driverSetup,
      store: store.description,
      kickFd: queue.kick.fd,
      stop: queue.stop.shared,
      stopFd: queue.stopEvent.fd,
    };
    const device = resources.use(
      await BenchThread.start<DeviceJob, DeviceCounts>(DEVICE, setup, (thread) => stopDevice(queue, thread)),
    );
    const driver = resources.use(await BenchThread.start<DriverJob, DriverResult>(DRIVER, driverSetup));
    const threads = { queue, device, driver, resources: resources.move() };
    return new NotifyStage({ diskBytes: store.sizeBytes, fixedPollUs, plans, ...threads });
  }

  /** Runs one round. Throws what a thread threw. */
  async round(load: NotifyLoad, placement: Placement, variant: NotifyVariant, seconds: number): Promise<NotifyRound> {
    const { queue, device, driver, plans, diskBytes, fixedPollUs } = this.#parts;
    const { doorbell, forgetful } = variant;
    const plan = plans.get(load);
    assert(plan !== undefined, `no queue is planned for ${load.name}`);
    queue.renew(plan);
    const common = { plan, eventIdx: true };
    const poll = pollMode(variant.poll, fixedPollUs);
    const serving = device.run({ ...common, cpu: placement.deviceCpu, doorbell, poll, forgetful });
    await serving.ready;
    const from = sampleProcessors(undefined);
    const driving = driver.run({
      ...common,
      random: load.random,
      diskBytes,
      seed: 1,
      cpu: placement.driverCpu,
      kick: { kind: doorbell, fd: queue.kick.fd, thread: device.thread },
      seconds,
      requests: Number.POSITIVE_INFINITY,
      nudgeAfterMs: forgetful ? NUDGE_AFTER_MS : undefined,
    });
    // A device that fails ends the round before the driver detects a stall.
    await Promise.race([driving.result, serving.result]);
    const to = sampleProcessors(undefined);
    stopDevice(queue, device.thread);
    const [driven, served] = await Promise.all([driving.result, serving.result]);
    return notifyRound(load.blockBytes, driven, served, disturbanceBetween(from, to));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.resources.disposeAsync();
  }
}

/** Stops the device, however it waits. A signal that is not needed causes one spurious wake-up in the next round. */
function stopDevice({ stop, stopEvent, kick }: SharedQueue, thread: number): void {
  stop.set(true);
  stopEvent.signal();
  ringerOf({ kind: 'signal', fd: kick.fd, thread }).signal();
}
