// testing: the fixture of the transport conformance suite: a disk behind a transport, its driver, and a guest.
import assert from 'node:assert/strict';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { BlockDriver, type BlockResult } from './block-driver.ts';
import type { BlockRequest } from './block-request.ts';
import { DriverQueue } from './driver-queue.ts';
import { eventually } from './raw-front-end.ts';
import { RawGuest } from './raw-guest.ts';
import type { TransportDriver } from './transport-driver.ts';

export const DISK_BYTES = 64 * 1024;
export const QUEUES = 4;
/** The disk's limit of requests in flight. */
export const IN_FLIGHT_MAX = 8;
const GUEST_BYTES = 8 << 20;
const SETTLE_TURNS = 20;

/** Makes a transport for the device, in a guest with this memory, and returns its driver. */
export type OpenTransport = (device: VirtioDevice, guest: RawGuest) => TransportDriver;

/** A disk, its device, the driver on its transport, and the guest. */
export class TransportWorld implements AsyncDisposable {
  readonly disk = new Uint8Array(DISK_BYTES);
  readonly device: BlockDevice;
  readonly guest = new RawGuest({ sizeBytes: GUEST_BYTES });
  readonly driver: TransportDriver;
  /** The features of each `start` of the device. */
  readonly activated: bigint[] = [];
  resets = 0;
  flushes = 0;
  /** Reads wait for this while it is set. */
  #gate: PromiseWithResolvers<void> | undefined;
  waitingReads = 0;

  constructor(open: OpenTransport) {
    this.disk.forEach((_, i) => {
      this.disk[i] = i * 7 + (i >> 8);
    });
    this.device = new BlockDevice(this.#store(), { queues: QUEUES });
    const { start, reset } = this.device;
    this.device.start = (features, context) => {
      this.activated.push(features);
      start.call(this.device, features, context);
    };
    this.device.reset = () => {
      this.resets++;
      reset.call(this.device);
    };
    this.driver = open(this.device, this.guest);
  }

  #store(): BlockStore {
    const { disk } = this;
    return {
      sizeBytes: DISK_BYTES,
      maxInFlight: IN_FLIGHT_MAX,
      read: (offset, into) => {
        const serve = (): void => into.set(disk.subarray(offset, offset + into.length));
        if (this.#gate === undefined) return serve();
        this.waitingReads++;
        return this.#gate.promise.then(serve);
      },
      write(offset, from) {
        disk.set(from, offset);
      },
      flush: () => void this.flushes++,
    };
  }

  /** Makes reads wait until `openGate`. */
  closeGate(): void {
    this.#gate = Promise.withResolvers();
  }

  openGate(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
    this.waitingReads = 0;
  }

  /** §3.1.1 up to the features. Default: all that are offered. Returns the accepted ones. */
  async negotiate(features?: bigint): Promise<bigint> {
    await this.driver.reset();
    const accepted = features ?? (await this.driver.offered());
    if (features !== undefined) await this.driver.offered();
    assert.ok(await this.driver.accept(accepted), 'what was offered is accepted');
    return accepted;
  }

  /** Allocates a ring for a queue and sets it up in the device. */
  async queue(index: number, features: bigint, size = 16): Promise<DrivenQueue> {
    const ring = new DriverQueue(this.guest.memory, { size, features, indirectMax: 8 });
    assert.ok(await this.driver.setUp(index, size, ring.addresses), `queue ${index} of ${size} is taken`);
    return new DrivenQueue(this.driver, index, new BlockDriver(this.guest.memory, ring));
  }

  /** Starts the device with `count` queues of this size. */
  async run(features?: bigint, size = 16, count = 1): Promise<DrivenQueue[]> {
    const accepted = await this.negotiate(features);
    const queues: DrivenQueue[] = [];
    for (let index = 0; index < count; index++) queues.push(await this.queue(index, accepted, size));
    await this.driver.start();
    return queues;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.openGate();
    await this.driver[Symbol.asyncDispose]();
    this.guest[Symbol.dispose]();
  }
}

/** A queue as its driver uses it. */
export class DrivenQueue {
  readonly index: number;
  readonly blocks: BlockDriver;
  readonly #driver: TransportDriver;

  constructor(driver: TransportDriver, index: number, blocks: BlockDriver) {
    this.#driver = driver;
    this.index = index;
    this.blocks = blocks;
  }

  get ring(): DriverQueue {
    return this.blocks.queue;
  }

  /** Places requests, and kicks if the device requested it. Small rings use indirect tables. */
  submit(...requests: readonly BlockRequest[]): void {
    for (const request of requests) this.blocks.add(request, this.ring.size < 4 ? { indirectFrom: 0 } : {});
    this.ring.publish();
    if (this.ring.needsKick()) this.#driver.kick(this.index);
  }

  async results(): Promise<BlockResult[]> {
    const all: BlockResult[] = [];
    await eventually(`${this.blocks.inFlight} requests of queue ${this.index}`, () => {
      all.push(...this.blocks.harvest());
      return this.blocks.inFlight === 0;
    });
    return all;
  }

  async serve(...requests: readonly BlockRequest[]): Promise<BlockResult[]> {
    this.submit(...requests);
    return this.results();
  }

  async interrupted(): Promise<void> {
    await eventually(`an interrupt of queue ${this.index}`, () => this.#driver.tookUsedInterrupt(this.index));
  }
}

/** Waits some turns of Node's loop, in which all pending work runs. */
export async function settle(): Promise<void> {
  for (let i = 0; i < SETTLE_TURNS; i++) await new Promise((resolve) => setImmediate(resolve));
}
