// test/vhost-user: a machine without processors: memory, the registers of a disk, doorbells, and threads that drive its queues.
import type { Worker } from 'node:worker_threads';
import { planQueue, type QueuePlan } from '../../bench/load/queue-plan.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import { rideNodeLoop } from '../../src/sys/node-loop.ts';
import { startThread } from '../../src/sys/thread.ts';
import { BlockDriver, type BlockResult } from '../../src/testing/block-driver.ts';
import type { BlockRequest } from '../../src/testing/block-request.ts';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import { patience } from '../../src/testing/patience.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { DeviceRegisters } from '../../src/transports/bus/device-registers.ts';
import type { DeviceHost, SharedRegion } from '../../src/transports/queue/queue-host.ts';
import type { RingAreas } from '../../src/virtio/ring-format.ts';
import { DeviceStatus, VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { COMPLETED, STOP, type Verified, type VerifyingJob } from './verifying-thread.ts';

const GUEST_BASE = 0x4000_0000;
const BLOCK_BYTES = 4096;
const STALL_MS = 30_000;
/** For requests made on this thread. */
const BY_HAND_BYTES = 1 << 20;
const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = DeviceStatus;

export interface DrivenDiskOptions {
  readonly queues?: number;
  readonly depth?: number;
  /** How long a driver waits for its device before it fails. Default: half a minute, more on a slow machine. */
  readonly stallMs?: number;
}

/** One queue: its eventfds, and what its thread counts. */
interface Driven {
  readonly plan: QueuePlan;
  /** What the driver rings; it takes the place of an address that the kernel watches. */
  readonly doorbell: EventFd;
  readonly call: EventFd;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly watch: Disposable;
}

export class DrivenDisk implements AsyncDisposable {
  readonly loop = new EventLoop();
  readonly lines: string[] = [];
  readonly log = (line: string): void => void this.lines.push(line);
  readonly memory: SharedRegion;
  configChanges = 0;
  readonly #ride = rideNodeLoop(this.loop);
  readonly #queues: Driven[] = [];
  readonly #assigned = new Map<number, EventFd>();
  readonly #workers: Worker[] = [];
  readonly #mapping: Mapping;
  readonly #stallMs: number;
  readonly #byHand: DriverMemory;
  #registers: DeviceRegisters | undefined;
  #shared: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor({ queues = 1, depth = 32, stallMs = patience(STALL_MS) }: DrivenDiskOptions = {}) {
    this.#stallMs = stallMs;
    const plans: QueuePlan[] = [];
    for (let i = 0; i < queues; i++) {
      const needs = { depth, blockBytes: BLOCK_BYTES, segmentBytesMax: BLOCK_BYTES };
      plans.push(planQueue(plans.at(-1)?.end ?? 0, needs));
    }
    const planned = Math.ceil((plans.at(-1) as QueuePlan).end / 4096) * 4096;
    const sizeBytes = planned + BY_HAND_BYTES;
    const fd = createMemfd('driven-disk', sizeBytes);
    this.#mapping = Mapping.ofFile(fd, sizeBytes);
    this.#byHand = new DriverMemory(this.#mapping.bytes.subarray(planned), GUEST_BASE + planned);
    this.memory = { id: 1, fd, fileOffset: 0, guestAddress: GUEST_BASE, sizeBytes, blockBytes: BLOCK_BYTES };
    plans.forEach((plan, index) => {
      const doorbell = EventFd.create();
      const watch = this.loop.watch(doorbell.fd, { readable: () => this.#rung(index, doorbell) });
      const words = new Int32Array(new SharedArrayBuffer(8));
      this.#queues.push({ plan, doorbell, call: EventFd.create(), words, watch });
    });
  }

  /** As ioeventfd: the eventfd that is assigned is rung, or the write leaves the guest. */
  #rung(index: number, doorbell: EventFd): void {
    if (!doorbell.clear()) return;
    const assigned = this.#assigned.get(index);
    if (assigned === undefined) this.#registers?.kick(index);
    else assigned.signal();
  }

  /** The registers of this host's device, made once. */
  connect(host: DeviceHost): DeviceRegisters {
    this.#shared = host.setMemory([this.memory]);
    this.#registers = new DeviceRegisters(host, this.loop, {
      assignDoorbell: (queue, eventFd) => {
        if (this.#assigned.has(queue)) throw new Error(`the doorbell of queue ${queue} has an eventfd already`);
        this.#assigned.set(queue, eventFd);
        return { [Symbol.dispose]: () => void this.#assigned.delete(queue) };
      },
      call: (queue) => {
        const call = this.#queues[queue]?.call;
        return call && { fd: call.fd };
      },
      log: this.log,
      configChanged: () => this.configChanges++,
      reset: () => {},
    });
    return this.#registers;
  }

  get registers(): DeviceRegisters {
    return this.#registers as DeviceRegisters;
  }

  /** As a driver begins, §3.1.1: everything offered is accepted, but for `without`. */
  async bringUp(without = 0n, other?: RingAreas & { readonly size: number }): Promise<void> {
    const { registers } = this;
    await this.#shared;
    await registers.writeStatus(ACKNOWLEDGE);
    await registers.writeStatus(ACKNOWLEDGE | DRIVER);
    const features = registers.offeredFeatures & ~without;
    for (const select of [0, 1]) registers.acceptWord(select, Number((features >> BigInt(32 * select)) & 0xffff_ffffn));
    await registers.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    const rings = other === undefined ? this.#queues.map(({ plan }) => addressesOf(plan)) : [other];
    for (const [index, ring] of rings.entries()) {
      const queue = registers.queue(index);
      if (queue === undefined) throw new Error(`the device has no queue ${index}`);
      queue.size = ring.size;
      for (const part of ['descriptorArea', 'driverArea', 'deviceArea'] as const)
        queue.setAddressWord(part, 0, ring[part]);
      await registers.setReady(index, true);
    }
    await registers.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }

  /** In place of `bringUp` and `drive`: queue 0, to be driven from here. */
  async byHand(size = 64): Promise<Hand> {
    const queue = new DriverQueue(this.#byHand, { size, features: this.registers.offeredFeatures });
    await this.bringUp(0n, { ...queue.addresses, size });
    const { doorbell } = this.#queues[0] as Driven;
    return new Hand(new BlockDriver(this.#byHand, queue), doorbell);
  }

  /** Starts a thread for each queue, which reads and writes and compares until `stop` is called. */
  drive(seed = 1): Driving {
    const { capacityBytes } = this;
    const eventIdx = (this.registers.features & VIRTIO_F_EVENT_IDX) !== 0n;
    const threads = this.#queues.map(({ plan, doorbell, call, words }, queue) => {
      const job: VerifyingJob = {
        ...{ plan, queue, queues: this.#queues.length, capacityBytes, eventIdx, seed: seed + queue, words },
        ...{ memoryFd: this.memory.fd, memoryBytes: this.memory.sizeBytes, guestBase: GUEST_BASE },
        ...{ kickFd: doorbell.fd, callFd: call.fd, stallMs: this.#stallMs },
      };
      const worker = startThread(new URL('./verifying-thread.ts', import.meta.url), { workerData: job });
      this.#workers.push(worker);
      return resultOf(worker);
    });
    return new Driving(
      threads,
      this.#queues.map(({ words }) => words),
    );
  }

  get capacityBytes(): number {
    return (this.registers.readConfig(0, 4) + this.registers.readConfig(4, 4) * 2 ** 32) * 512;
  }

  /** As the machine's end. */
  close(): Promise<void> {
    this.#closed ??= this.#registers?.close() ?? Promise.resolve();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    await this.close();
    for (const { doorbell, call, watch } of this.#queues) {
      watch[Symbol.dispose]();
      doorbell[Symbol.dispose]();
      call[Symbol.dispose]();
    }
    this.#mapping[Symbol.dispose]();
    closeFd(this.memory.fd);
    this.#ride[Symbol.dispose]();
    this.loop[Symbol.dispose]();
  }
}

/** A queue driven by hand. */
export class Hand {
  readonly driver: BlockDriver;
  readonly #doorbell: EventFd;

  constructor(driver: BlockDriver, doorbell: EventFd) {
    this.driver = driver;
    this.#doorbell = doorbell;
  }

  submit(...requests: readonly BlockRequest[]): void {
    for (const request of requests) this.driver.add(request);
    this.driver.queue.publish();
    if (this.driver.queue.needsKick()) this.#doorbell.signal();
  }

  /** Waits until everything has come back. */
  async results(): Promise<BlockResult[]> {
    const all: BlockResult[] = [];
    await eventually(`${this.driver.inFlight} requests`, () => {
      all.push(...this.driver.harvest());
      return this.driver.inFlight === 0;
    });
    return all;
  }

  async serve(...requests: readonly BlockRequest[]): Promise<BlockResult[]> {
    this.submit(...requests);
    return this.results();
  }
}

/** Threads at work on a disk's queues. */
export class Driving {
  readonly #threads: readonly Promise<Verified>[];
  readonly #words: readonly Int32Array<SharedArrayBuffer>[];

  #failure: { readonly error: unknown } | undefined;

  constructor(threads: readonly Promise<Verified>[], words: readonly Int32Array<SharedArrayBuffer>[]) {
    this.#threads = threads;
    this.#words = words;
    for (const thread of threads)
      thread.catch((error) => {
        this.#failure ??= { error };
      });
  }

  #completed(): number[] {
    return this.#words.map((words) => Atomics.load(words, COMPLETED));
  }

  /** How many requests were completed so far, over all queues. */
  get completed(): number {
    return this.#completed().reduce((sum, one) => sum + one, 0);
  }

  /** Waits until every queue got requests back that were not back before. Rejects with what a thread died of. */
  async progress(): Promise<void> {
    const before = this.#completed();
    await this.#until('every queue goes on', () => this.#completed().every((now, i) => now > before[i]! + 100));
  }

  /** Waits until a queue got a request back that was not back before. Rejects with what a thread died of. */
  async anyProgress(): Promise<void> {
    const before = this.#completed();
    await this.#until('a queue goes on', () => this.#completed().some((now, i) => now > before[i]!));
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    await eventually(what, () => this.#failure !== undefined || condition());
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Ends them: takes back what is in flight, reads everything that was ever written. */
  stop(): Promise<Verified[]> {
    for (const words of this.#words) Atomics.store(words, STOP, 1);
    return Promise.all(this.#threads);
  }
}

function addressesOf(plan: QueuePlan): RingAreas & { readonly size: number } {
  const { size } = plan;
  const at = (offset: number): number => GUEST_BASE + offset;
  const descriptorArea = at(plan.descriptorArea);
  return { size, descriptorArea, driverArea: at(plan.driverArea), deviceArea: at(plan.deviceArea) };
}

function resultOf(worker: Worker): Promise<Verified> {
  const { promise, resolve, reject } = Promise.withResolvers<Verified>();
  worker.once('message', resolve);
  worker.once('error', reject);
  return promise;
}
