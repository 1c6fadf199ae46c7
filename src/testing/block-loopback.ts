// Upper floor: a block driver and a block device on one ring in one process: enough to test a store without a machine.
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import type { DeviceContext } from '../virtio/device.ts';
import { GuestMemory } from '../virtio/guest-memory.ts';
import type { RunnableQueue } from '../virtio/ring-format.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../virtio/spec.ts';
import { splitFormat } from '../virtio/split/split-format.ts';
import { BlockDriver, type BlockResult, type Framing } from './block-driver.ts';
import type { BlockRequest } from './block-request.ts';
import { DriverMemory } from './driver-memory.ts';
import { DriverQueue } from './driver-queue.ts';

/** How the driver uses the disk. */
export interface BlockLoopbackOptions {
  /** Of the queue; 128 unless said. */
  readonly size?: number;
  /** Where the indices of the ring start. */
  readonly start?: number;
  /** What the driver accepts; everything unless said. */
  readonly features?: bigint;
  /** Bytes of guest memory, in which the ring and all requests in flight stand; 1 MiB unless said. */
  readonly memoryBytes?: number;
  /** What the device is made with. */
  readonly device?: BlockDeviceOptions;
}

const INDIRECT_MAX = 8;
const NO_CONTEXT: Omit<DeviceContext, 'log' | 'configChanged'> = {
  watch: () => ({ [Symbol.dispose]: () => {} }),
  timer: () => ({ [Symbol.dispose]: () => {} }),
  needsReset: () => {},
};
const RING_FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;

/**
 * A disk over `store` and its driver, on one ring in this process: enough to test a store as a guest would use it. Throws as `new BlockDevice`.
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
  /** What the device told its user. */
  readonly lines: string[] = [];
  /** Changes of the configuration space that it announced. */
  configChanges = 0;
  #isTurnOver = false;
  /** The driver's side of the ring. */
  readonly driver: BlockDriver;
  /** Guest memory. */
  readonly memory: DriverMemory;
  /** Notifications the device sent. */
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

  /** The driver accepts these features, once more. */
  start(features: bigint): void {
    this.device.start(features, {
      ...NO_CONTEXT,
      log: (line) => this.lines.push(line),
      configChanged: () => this.configChanges++,
    });
  }

  /** Gives the device requests and lets it drain its queue. What a store answers later is not waited for. */
  kick(requests: readonly BlockRequest[], framing?: Framing): void {
    for (const request of requests) this.driver.add(request, framing);
    this.driver.queue.publish();
    do {
      this.#isTurnOver = false;
      this.device.process(0, this.queue);
    } while (this.#isTurnOver);
  }

  /** Waits for everything in flight; results come in the order of their completion. */
  async settle(): Promise<BlockResult[]> {
    while (this.queue.inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
    return this.driver.harvest();
  }

  /** One request from start to end. */
  async request(request: BlockRequest, framing?: Framing): Promise<BlockResult> {
    this.kick([request], framing);
    return (await this.settle())[0] as BlockResult;
  }
}
