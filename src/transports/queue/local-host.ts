// Ground floor: runs a device's queues on this thread and its event loop.
import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import { newQueueCounters, type QueueCounters } from '../../virtio/queue-counters.ts';
import { SplitQueue } from '../../virtio/split/split-queue.ts';
import { MappedMemory } from './mapped-memory.ts';
import type { QueueHost, QueueSetup, SharedRegion } from './queue-host.ts';
import { type QueueReport, reportOf } from './queue-report.ts';
import { QueueRunner } from './running-queue.ts';

export interface LocalQueueHostOptions {
  /** One line for each thing a person should know. */
  readonly log: (line: string) => void;
  readonly latency?: { record(ns: number): void };
}

interface Running {
  readonly runner: QueueRunner;
  call: EventFd | undefined;
}

export class LocalQueueHost implements QueueHost {
  readonly device: VirtioDevice;
  /** By queue, over all sessions. */
  readonly counters: QueueCounters[];
  readonly #loop: EventLoop;
  readonly #options: LocalQueueHostOptions;
  readonly #running = new Map<number, Running>();
  #memory = new MappedMemory([]);

  constructor(device: VirtioDevice, loop: EventLoop, options: LocalQueueHostOptions) {
    this.device = device;
    this.#loop = loop;
    this.#options = options;
    this.counters = device.queueSizes.map(newQueueCounters);
  }

  setMemory(regions: readonly SharedRegion[], done: (problem?: Error) => void): void {
    try {
      const memory = new MappedMemory(regions);
      this.#memory[Symbol.dispose]();
      this.#memory = memory;
    } catch (error) {
      return done(error as Error);
    }
    done();
  }

  start(index: number, setup: QueueSetup, done: (problem?: Error) => void): void {
    try {
      const running: Running = {
        runner: this.#run(index, setup, () => this.#call(index, running)),
        call: borrow(setup.callFd),
      };
      this.#running.set(index, running);
      running.call?.signal();
    } catch (error) {
      return done(error as Error);
    }
    done();
  }

  #call(index: number, { call }: Running): void {
    (this.counters[index] as QueueCounters).lastCallMs = performance.now();
    call?.signal();
  }

  /** Every queue that runs, as it is now. */
  report(): QueueReport[] {
    return [...this.#running].map(([index, { runner }]) =>
      reportOf(index, runner.queue.state(), runner.queue.counters),
    );
  }

  #run(index: number, setup: QueueSetup, notify: () => void): QueueRunner {
    const queue = new SplitQueue(this.#memory.ringAt(setup), this.#memory.guest, {
      features: setup.features,
      base: setup.base,
      notify,
      counters: this.counters[index] as QueueCounters,
      ...(this.#options.latency && { latency: this.#options.latency }),
    });
    return new QueueRunner(queue, this.device, index, this.#loop, setup.kickFd, (problem) => {
      this.#options.log(`queue ${index} stopped until the driver resets it: ${problem.message}`);
      borrow(setup.errFd)?.signal();
    });
  }

  stop(index: number, done: (base: number, broken: boolean) => void): void {
    const { runner } = this.#running.get(index) as Running;
    runner.stop(() => {
      this.#running.delete(index);
      done(runner.queue.base, runner.broken);
    });
  }

  setCall(index: number, callFd: number | undefined, done: () => void): void {
    const running = this.#running.get(index) as Running;
    running.call = borrow(callFd);
    running.call?.signal();
    done();
  }

  activate(features: bigint): void {
    this.device.activate?.(features);
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    return this.device.writeConfig?.(offset, bytes) ?? false;
  }

  reset(): void {
    this.device.reset?.();
  }
}

function borrow(fd: number | undefined): EventFd | undefined {
  return fd === undefined ? undefined : EventFd.borrow(fd);
}
