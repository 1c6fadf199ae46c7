// Upper floor: a device and its driver in one process, on the code that runs it for a VM: enough to test any device without one.
import { EventLoop } from '../sys/event-loop.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { GuestMemory } from '../virtio/guest-memory.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../virtio/spec.ts';
import { DriverMemory } from './driver-memory.ts';
import { LoopbackQueue } from './loopback-queue.ts';

/** How a driver uses a device. */
export interface DeviceLoopbackOptions {
  /** What it accepts: bits of VIRTIO 1.3 §5 and §6; everything that is offered unless said. */
  readonly features?: bigint;
  /** Descriptors of each ring, a power of two; 16, or the most that the device takes, unless said. */
  readonly size?: number;
  /** Where the indices of each ring begin; 0 unless said. */
  readonly start?: number;
  /** Bytes of guest memory, from address 0 on, in which rings and chains stand; 1 MiB unless said. */
  readonly memoryBytes?: number;
}

const RING_FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
const SIZE_DEFAULT = 16;
/** Descriptors of an indirect table: more than the ring has, unless it is told to have many. */
const INDIRECT_MAX = 32;

/**
 * Runs `device` on this thread, with memory, rings and notifications of its own. Everything is waited for by the event and never by the
 * clock, so that a test depends on no machine's speed.
 *
 * @example A whole test of a device:
 * test('it answers with what it was asked', async () => {
 *   await using loop = await DeviceLoopback.start(new EchoDevice());
 *   const { written, bytes } = await loop.queues[0]!.request({ readable: [Uint8Array.of(1, 2, 3)], writable: [8] });
 *   assert.deepEqual([...bytes.subarray(0, written)], [1, 2, 3]);
 * });
 */
export class DeviceLoopback implements AsyncDisposable {
  /** The device under test. */
  readonly device: VirtioDevice;
  /** Every queue of the device. */
  readonly queues: readonly LoopbackQueue[];
  /** What the device told its user, and what was said of its queues. */
  readonly lines: string[] = [];
  /** Changes of the configuration space that the driver was told of. */
  configChanges = 0;
  /** Whether the device said that only a reset helps. */
  needsReset = false;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #host: LocalHost;
  readonly #options: DeviceLoopbackOptions;
  readonly #held = new DisposableStack();
  #memory!: DriverMemory;

  /** Starts every queue of `device`. Throws TypeError where it is none, and what its `start` throws. */
  static async start(device: VirtioDevice, options: DeviceLoopbackOptions = {}): Promise<DeviceLoopback> {
    const loopback = new DeviceLoopback(device, options);
    try {
      await loopback.#begin();
    } catch (error) {
      loopback.#held.dispose();
      throw error;
    }
    return loopback;
  }

  private constructor(device: VirtioDevice, options: DeviceLoopbackOptions) {
    this.device = device;
    this.#options = options;
    this.#bytes = new Uint8Array(options.memoryBytes ?? 1 << 20);
    const guest = new GuestMemory([{ guestAddress: 0, bytes: this.#bytes }]);
    const loop = this.#held.use(new EventLoop());
    try {
      this.#host = new LocalHost(device, loop, { log: (line) => this.lines.push(line), guest });
    } catch (error) {
      this.#held.dispose();
      throw error;
    }
    this.#held.use(rideNodeLoop(loop));
    const parts = { host: this.#host, loop, lines: this.lines };
    this.queues = device.queueSizes.map((_, index) => this.#held.use(new LoopbackQueue(index, parts)));
    this.#host.events = {
      configChanged: () => this.configChanges++,
      needsReset: () => {
        this.needsReset = true;
      },
    };
  }

  /** Guest memory, from which the driver takes its buffers. */
  get memory(): DriverMemory {
    return this.#memory;
  }

  /** §3.1.1: features, then the queues, then they run. */
  async #begin(features = this.#options.features ?? this.device.features | RING_FEATURES): Promise<void> {
    const { size = SIZE_DEFAULT, start = 0 } = this.#options;
    this.#memory = new DriverMemory(this.#bytes.fill(0));
    await this.#host.activate(features);
    for (const queue of this.queues) {
      const most = Math.min(size, this.device.queueSizes[queue.index] as number);
      queue.setUp(this.#memory, { size: most, start, features, indirectMax: INDIRECT_MAX });
      await queue.start();
    }
  }

  /** The configuration space as the driver reads it, little-endian: a copy. */
  config(): DataView {
    return new DataView((this.device.config?.bytes ?? new Uint8Array()).slice().buffer);
  }

  /** The driver writes to the configuration space. False where it may not. */
  writeConfig(offset: number, bytes: Uint8Array): Promise<boolean> {
    return this.#host.writeConfig(offset, bytes);
  }

  /** Stops every queue, as a VM that is paused does. Fulfilled when nothing in flight touches memory any more. */
  async pause(): Promise<void> {
    await Promise.all(this.queues.map((queue) => queue.stop()));
  }

  /** Every queue goes on from where it stopped. */
  async resume(): Promise<void> {
    for (const queue of this.queues) await queue.start();
  }

  /** The driver resets the device and begins anew: memory is zeroes, rings are empty. */
  async reset(features?: bigint): Promise<void> {
    await this.pause();
    await this.#host.reset();
    this.needsReset = false;
    await this.#begin(features);
  }

  /** Gives everything back without waiting for the device, which may keep what it has and is not closed. */
  abandon(): void {
    this.#held.dispose();
  }

  /** Stops the queues and closes the device. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.pause();
    this.#held.dispose();
    await this.device.close?.();
  }
}
