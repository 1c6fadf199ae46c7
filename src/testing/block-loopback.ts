// testing: a block driver and a block device on one ring in one process: enough to test a store without a machine.
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import type { DeviceContext } from '../virtio/device.ts';
import { GuestMemory } from '../virtio/guest-memory.ts';
import { RING_FEATURES } from '../virtio/negotiated-format.ts';
import type { RunnableQueue } from '../virtio/ring-format.ts';
import { splitFormat } from '../virtio/split/split-format.ts';
import { BlockDriver, type BlockResult, type Framing } from './block-driver.ts';
import type { BlockRequest } from './block-request.ts';
import { DriverMemory } from './driver-memory.ts';
import { DriverQueue } from './driver-queue.ts';

/** How the driver uses the disk. */
export interface BlockLoopbackOptions {
  /** Size of the queue. Default: 128. */
  readonly size?: number;
  /** Where the indices of the ring start. Default: 0. */
  readonly start?: number;
  /** The features that the driver accepts. Default: all that are offered. */
  readonly features?: bigint;
  /** Bytes of guest memory, for the ring and all requests in flight. Default: 1 MiB. */
  readonly memoryBytes?: number;
  /** Options of the device. */
  readonly device?: BlockDeviceOptions;
}

const INDIRECT_MAX = 8;
const NO_CONTEXT: Omit<DeviceContext, 'log' | 'configChanged'> = {
  watch: () => ({ [Symbol.dispose]: () => {} }),
  timer: () => ({ [Symbol.dispose]: () => {} }),
  soon: (task) => queueMicrotask(task),
  needsReset: () => {},
};

/**
 * A disk over `store` and its driver, on one ring in this process: enough to test a store as a guest would use it.
 * Throws as `new BlockDevice`.
 *
 * @example
 * const disk = new BlockLoopback(myStore);
 * const { status, data } = await disk.request(blockRequest.read(0, 512));
 * assert.equal(status, 0);
 * assert.deepEqual(data, new Uint8Array(512));
 */
export class BlockLoopback {
  /** The device under test. */
  readonly device: BlockDevice;
  /** The device's side of the ring. */
  readonly queue: RunnableQueue;
  /** The lines that the device logged. */
  readonly lines: string[] = [];
  /** How many configuration changes the device reported. */
  configChanges = 0;
  #isTurnOver = false;
  /** The driver's side of the ring. */
  readonly driver: BlockDriver;
  /** Guest memory. */
  readonly memory: DriverMemory;
  /** How many notifications the device sent. */
  calls = 0;

  constructor(store: BlockStore, options: BlockLoopbackOptions = {}) {
    const { size = 128, start = 0, memoryBytes = 1 << 20 } = options;
    this.device = new BlockDevice(store, options.device);
    const features = options.features ?? this.device.features | RING_FEATURES;
    this.start(features);
    this.memory = new DriverMemory(new Uint8Array(memoryBytes));
    const ring = new DriverQueue(this.memory, { size, start, features, indirectMax: INDIRECT_MAX });
    this.driver = new BlockDriver(this.memory, ring);
    this.queue = splitFormat.open(size, ring.layout, new GuestMemory([this.memory]), {
      features,
      base: start,
      notify: () => this.calls++,
      again: () => {
        this.#isTurnOver = true;
      },
    });
  }

  /** Starts the device with these features, again. */
  start(features: bigint): void {
    this.device.start(features, {
      ...NO_CONTEXT,
      log: (line) => this.lines.push(line),
      configChanged: () => this.configChanges++,
    });
  }

  /** Places requests and lets the device drain its queue. Does not wait for a store that answers later. */
  kick(requests: readonly BlockRequest[], framing?: Framing): void {
    for (const request of requests) this.driver.add(request, framing);
    this.driver.queue.publish();
    do {
      this.#isTurnOver = false;
      this.device.process(0, this.queue);
    } while (this.#isTurnOver);
  }

  /** Waits for all requests in flight; returns the results in the order of completion. */
  async settle(): Promise<BlockResult[]> {
    while (this.queue.inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
    return this.driver.harvest();
  }

  /** Places one request and waits for it. */
  async request(request: BlockRequest, framing?: Framing): Promise<BlockResult> {
    this.kick([request], framing);
    return (await this.settle())[0] as BlockResult;
  }
}
