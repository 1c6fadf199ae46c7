// queue: a device and its queues on this thread and its event loop.

import type { EventLoop } from '../../sys/event-loop.ts';
import type { Mapping } from '../../sys/mapping.ts';
import { checkDevice } from '../../virtio/check-device.ts';
import type { DeviceContext, VirtioDevice } from '../../virtio/device.ts';
import type { GuestMemory } from '../../virtio/guest-memory.ts';
import { IN_FLIGHT_DEFAULT, InFlightLimit } from '../../virtio/in-flight-limit.ts';
import type { Log } from '../../virtio/log.ts';
import { ringFormatOf } from '../../virtio/negotiated-format.ts';
import { newQueueCounters, type QueueCounters } from '../../virtio/queue-counters.ts';
import { DEVICE_FEATURE_BITS } from '../../virtio/spec.ts';
import { MappedMemory, mapPart } from './mapped-memory.ts';
import type {
  CallTarget,
  DeviceEvents,
  DeviceHost,
  DirtyLogPart,
  QueueSetup,
  QueueStop,
  SharedRegion,
} from './queue-host.ts';
import type { QueueReport } from './queue-report.ts';
import { RunningQueue } from './running-queue.ts';

export interface LocalHostOptions {
  /** Takes each log line. A guest can cause any number of lines, so the log has to limit them. */
  readonly log: Log;
  readonly latency?: { record(ns: number): void };
  /** Returns where a queue is counted, and its latency if it has `record`. Default: numbers of its own. */
  readonly counters?: (queue: number) => QueueCounters & { record?(ns: number): void };
  /** Guest memory that is mapped already; `setMemory` adds to it. Default: none. */
  readonly guest?: GuestMemory;
}

/** Runs a device and its queues on this thread's event loop. */
export class LocalHost implements DeviceHost {
  readonly device: VirtioDevice;
  /** Counters by queue, over all sessions. */
  readonly counters: (QueueCounters & { record?(ns: number): void })[];
  events: DeviceEvents | undefined;
  readonly #loop: EventLoop;
  readonly #options: LocalHostOptions;
  readonly #context: DeviceContext;
  readonly #inFlight: InFlightLimit;
  readonly #memory: MappedMemory;
  readonly #pause = { isOn: false };
  readonly #running = new Map<number, RunningQueue>();
  /** By queue: its record of requests in flight. */
  readonly #records = new Map<number, Mapping>();
  /** The device-type features that the device was started with; undefined: not started since the last reset. */
  #active: bigint | undefined;

  /** Throws TypeError if `device` is not a VirtioDevice. */
  constructor(device: VirtioDevice, loop: EventLoop, options: LocalHostOptions) {
    checkDevice(device);
    this.device = device;
    this.#loop = loop;
    this.#options = options;
    this.#memory = new MappedMemory(options.guest);
    this.#inFlight = new InFlightLimit({
      ...IN_FLIGHT_DEFAULT,
      ...(device.maxInFlight !== undefined && { requests: device.maxInFlight }),
    });
    this.counters = device.queueSizes.map((_, queue) => options.counters?.(queue) ?? newQueueCounters());
    this.#context = {
      watch: (fd, handlers) => loop.watch(fd, handlers),
      soon: (task, source) => loop.soon(task, source),
      timer: (delayMs, task) => loop.timer(delayMs, task),
      log: options.log,
      configChanged: () => this.events?.configChanged(),
      needsReset: (why) => this.#needsReset(why),
    };
    device.attach?.(this.#context);
  }

  #needsReset(why: string): void {
    this.#options.log(`the device needs a reset: ${why}`, { event: 'device-failed' });
    this.events?.needsReset();
  }

  async setMemory(regions: readonly SharedRegion[], dirtyLog?: DirtyLogPart): Promise<void> {
    this.#memory.set(regions, dirtyLog);
  }

  async start(index: number, setup: QueueSetup): Promise<void> {
    this.#startDevice(setup.features);
    const { log } = this.#options;
    const latency = this.#latencyOf(index);
    const { features, size } = setup;
    const format = ringFormatOf(features);
    const environment = {
      device: this.device,
      loop: this.#loop,
      counters: this.counters[index] as QueueCounters,
      inFlight: this.#inFlight,
      ...(latency && { latency }),
      log,
      pause: this.#pause,
    };
    const areas = this.#memory.ring(format, size, setup);
    const record = setup.inFlight && mapPart(setup.inFlight);
    try {
      const queue = new RunningQueue(index, setup, environment, (options) =>
        format.open(size, areas, this.#memory.guest, { ...options, ...(record && { inFlightArea: record.bytes }) }),
      );
      this.#running.set(index, queue);
    } catch (error) {
      record?.[Symbol.dispose]();
      throw error;
    }
    if (record !== undefined) this.#records.set(index, record);
  }

  #latencyOf(index: number): LocalHostOptions['latency'] {
    const { latency } = this.#options;
    const counters = this.counters[index];
    if (counters?.record === undefined) return latency;
    return {
      record: (ns) => {
        counters.record?.(ns);
        latency?.record(ns);
      },
    };
  }

  /** Takes no requests from the rings until it is called with false. What is in flight goes on. */
  setPaused(isPaused: boolean): void {
    this.#pause.isOn = isPaused;
    if (!isPaused) for (const queue of this.#running.values()) queue.resume();
  }

  async stop(index: number): Promise<QueueStop> {
    const stop = await this.#queue(index).stop();
    this.#running.delete(index);
    this.#records.get(index)?.[Symbol.dispose]();
    this.#records.delete(index);
    return stop;
  }

  async setCall(index: number, call: CallTarget | undefined): Promise<void> {
    this.#queue(index).setCall(call);
  }

  #queue(index: number): RunningQueue {
    const queue = this.#running.get(index);
    if (queue === undefined) throw new Error(`queue ${index} does not run`);
    return queue;
  }

  /** Reports every running queue as it is now. */
  report(): QueueReport[] {
    return [...this.#running.values()].map((queue) => queue.report());
  }

  async activate(features: bigint): Promise<void> {
    this.#startDevice(features);
  }

  /** Starts the device unless it runs with these features; feature bits of the ring and the transport do not count. */
  #startDevice(features: bigint): void {
    const accepted = features & DEVICE_FEATURE_BITS;
    if (this.#active === accepted) return;
    this.device.start?.(features, this.#context);
    this.#active = accepted;
  }

  async writeConfig(offset: number, bytes: Uint8Array): Promise<boolean> {
    return this.device.config?.write?.(offset, bytes) ?? false;
  }

  async reset(): Promise<void> {
    this.#active = undefined;
    await this.device.reset?.();
  }
}
