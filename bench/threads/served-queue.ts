// bench/threads: one queue and its device on the product's event loop, until a descriptor becomes readable.

import type { VirtioDevice } from '../../src/index.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import type { EventLoop } from '../../src/sys/event-loop.ts';
import type { Mapping } from '../../src/sys/mapping.ts';
import type { PollPolicy } from '../../src/sys/pollable.ts';
import { RunningQueue } from '../../src/transports/queue/running-queue.ts';
import { InFlightLimit } from '../../src/virtio/in-flight-limit.ts';
import { newQueueCounters, type QueueCounters } from '../../src/virtio/queue-counters.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';
import type { QueuePlan } from '../load/queue-plan.ts';
import { areasOf, guestMemoryOf, ringFeatures } from './ring-memory.ts';

export interface ServedQueue {
  readonly device: VirtioDevice;
  readonly memory: Mapping;
  readonly plan: QueuePlan;
  readonly eventIdx: boolean;
  readonly kickFd: number;
  /** Notifies the driver. */
  readonly call: () => void;
}

/** Runs the queue on `loop`. An error that stops the queue is thrown from the loop. */
export function startQueue(
  loop: EventLoop,
  { device, memory, plan, eventIdx, kickFd, call }: ServedQueue,
): QueueCounters {
  const counters = newQueueCounters();
  const log = (line: string): never => {
    throw new Error(line);
  };
  const around = { device, loop, counters, inFlight: new InFlightLimit(), log };
  const { size, descriptorArea, driverArea, deviceArea } = plan;
  const where = { size, base: splitFormat.firstBase, descriptorArea, driverArea, deviceArea };
  const setup = { ...where, features: ringFeatures(eventIdx), kickFd, call: { notify: call }, errFd: undefined };
  const [areas, guest] = [areasOf(memory, plan), guestMemoryOf(memory)];
  new RunningQueue(0, setup, around, (options) => splitFormat.open(size, areas, guest, options));
  return counters;
}

/** Runs `loop` until the eventfd `stopFd` is signalled. */
export async function runUntilStopped(loop: EventLoop, stopFd: number): Promise<void> {
  const stop = EventFd.borrow(stopFd);
  using _watch = loop.watch(stopFd, {
    readable: () => {
      stop.clear();
      loop.stop();
    },
  });
  await loop.run();
}

/** A policy for polling that also counts how often the loop woke up. */
export class SleepCounter implements PollPolicy {
  wakeUps = 0;
  readonly #policy: PollPolicy | undefined;
  #idleSinceMs = 0;

  /** @param policy decides for how long to poll; absent: not at all. */
  constructor(policy: PollPolicy | undefined) {
    this.#policy = policy;
  }

  pollNs(): number {
    this.#idleSinceMs = performance.now();
    return this.#policy?.pollNs() ?? 0;
  }

  waited(ns: number, foundByPolling: boolean): void {
    if (foundByPolling) this.#idleSinceMs = performance.now();
    else this.wakeUps++;
    this.#policy?.waited(ns, foundByPolling);
  }

  /** Counts a wake-up of a loop that sleeps by other means. */
  slept(): void {
    this.waited((performance.now() - this.#idleSinceMs) * 1e6, false);
  }
}
