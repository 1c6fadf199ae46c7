// Ground floor: runs a device's queues on this thread and its event loop.
import { EventFd } from '../sys/event-fd.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import { Mapping } from '../sys/mapping.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { GuestMemory } from '../virtio/guest-memory.ts';
import { newQueueCounters, type QueueCounters } from '../virtio/queue-counters.ts';
import { splitQueueBytes } from '../virtio/spec.ts';
import { SplitQueue } from '../virtio/split-queue.ts';
import type { QueueHost, QueueSetup, SharedRegion } from './queue-host.ts';
import { type QueueReport, reportOf } from './queue-report.ts';
import { QueueRunner } from './queue-runner.ts';

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
  #mappings: Mapping[] = [];
  #memory = new GuestMemory([]);

  constructor(device: VirtioDevice, loop: EventLoop, options: LocalQueueHostOptions) {
    this.device = device;
    this.#loop = loop;
    this.#options = options;
    this.counters = device.queueSizes.map(newQueueCounters);
  }

  setMemory(regions: readonly SharedRegion[], done: (problem?: Error) => void): void {
    const mappings: Mapping[] = [];
    try {
      const memory = regions.map(({ fd, mapBytes, mmapOffset, guestAddress, sizeBytes }) => {
        const mapping = Mapping.ofFile(fd, mapBytes);
        mappings.push(mapping);
        mapping.keepPrivate();
        return { guestAddress, bytes: mapping.bytes.subarray(mmapOffset, mmapOffset + sizeBytes) };
      });
      this.#memory = new GuestMemory(memory);
    } catch (error) {
      for (const mapping of mappings) mapping[Symbol.dispose]();
      return done(error as Error);
    }
    for (const mapping of this.#mappings) mapping[Symbol.dispose]();
    this.#mappings = mappings;
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
    const bytes = splitQueueBytes(setup.size);
    const layout = {
      size: setup.size,
      descriptorTable: this.#memory.slice(setup.descriptorTable, bytes.descriptorTable),
      availableRing: this.#memory.slice(setup.availableRing, bytes.availableRing),
      usedRing: this.#memory.slice(setup.usedRing, bytes.usedRing),
    };
    const queue = new SplitQueue(layout, this.#memory, {
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
