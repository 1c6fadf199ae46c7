// testing: a device and its driver in one process, on the code that runs devices for VMs: tests any device without
// a VM.
import { EventLoop } from '../sys/event-loop.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { GuestMemory } from '../virtio/guest-memory.ts';
import { RING_FEATURES } from '../virtio/negotiated-format.ts';
import { DriverMemory } from './driver-memory.ts';
import { LoopbackQueue } from './loopback-queue.ts';

/** How a driver uses a device. */
export interface DeviceLoopbackOptions {
  /** The features that it accepts: bits of VIRTIO 1.3 §5 and §6. Default: all that are offered. */
  readonly features?: bigint;
  /** Descriptors of each ring, a power of two. Default: 16, or fewer if the device takes fewer. */
  readonly size?: number;
  /** Where the indices of each ring start. Default: 0. */
  readonly start?: number;
  /** Bytes of guest memory from address 0 on, for rings and chains. Default: 1 MiB. */
  readonly memoryBytes?: number;
}

const SIZE_DEFAULT = 16;
/** Descriptors of an indirect table: more than a ring of the default size. */
const INDIRECT_MAX = 32;

/**
 * Runs `device` on this thread, with memory, rings and notifications of its own. Waits for events and never for a time,
 * so that a test does not depend on the speed of the machine.
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
  /** The lines that the device and its queues logged. */
  readonly lines: string[] = [];
  /** How many configuration change notifications the driver got. */
  configChanges = 0;
  /** Whether the device set DEVICE_NEEDS_RESET. */
  needsReset = false;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #host: LocalHost;
  readonly #options: DeviceLoopbackOptions;
  readonly #held = new DisposableStack();
  #memory!: DriverMemory;

  /**
   * Starts every queue of `device`. Rejects with TypeError if it is not a VirtioDevice, and with what its `start`
   * throws.
   */
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

  /** Guest memory, in which the driver allocates buffers. */
  get memory(): DriverMemory {
    return this.#memory;
  }

  /** §3.1.1: negotiates features, sets the queues up and starts them. */
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

  /** Returns a copy of the configuration space. Fields are little-endian. */
  config(): DataView {
    return new DataView((this.device.config?.bytes ?? new Uint8Array()).slice().buffer);
  }

  /** Writes to the configuration space. Resolves to false where the bytes are read-only. */
  writeConfig(offset: number, bytes: Uint8Array): Promise<boolean> {
    return this.#host.writeConfig(offset, bytes);
  }

  /** Stops every queue, as a paused VM does. Resolves when no request in flight touches memory. */
  async pause(): Promise<void> {
    await Promise.all(this.queues.map((queue) => queue.stop()));
  }

  /** Restarts every queue where it stopped. */
  async resume(): Promise<void> {
    for (const queue of this.queues) await queue.start();
  }

  /** Resets the device and starts it again, with zeroed memory and empty rings. */
  async reset(features?: bigint): Promise<void> {
    await this.pause();
    await this.#host.reset();
    this.needsReset = false;
    await this.#begin(features);
  }

  /** Releases everything without stopping or closing the device. */
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
