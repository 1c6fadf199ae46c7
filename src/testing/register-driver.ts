// testing: the driver's steps over the registers of virtio-mmio, §4.2.3, whatever carries an access to them.
import { INTERRUPT_CONFIG_CHANGE, INTERRUPT_USED_BUFFER, MmioRegister as Reg } from '../transports/bus/mmio/spec.ts';
import type { RingAreas } from '../virtio/ring-format.ts';
import { DeviceStatus } from '../virtio/spec.ts';
import type { TransportDriver } from './transport-driver.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET } = DeviceStatus;
const PARTS = [
  ['descriptorArea', Reg.QueueDescLow],
  ['driverArea', Reg.QueueDriverLow],
  ['deviceArea', Reg.QueueDeviceLow],
] as const;

/** A driver of the registers of virtio-mmio. */
export abstract class RegisterDriver implements TransportDriver {
  #events = 0;

  abstract readonly lines: readonly string[];
  abstract read(register: number, sizeBytes?: number): number;
  abstract write(register: number, value: number, sizeBytes?: number): void | Promise<void>;
  /** Whether the interrupt was raised since the last call. */
  abstract takeLine(): boolean;
  abstract [Symbol.asyncDispose](): Promise<void>;

  async offered(): Promise<bigint> {
    await this.write(Reg.Status, ACKNOWLEDGE);
    await this.write(Reg.Status, ACKNOWLEDGE | DRIVER);
    const words = [0, 1].map((select) => {
      this.write(Reg.DeviceFeaturesSel, select);
      return BigInt(this.read(Reg.DeviceFeatures));
    });
    return (words[0] as bigint) | ((words[1] as bigint) << 32n);
  }

  async accept(features: bigint): Promise<boolean> {
    for (const select of [0, 1]) {
      this.write(Reg.DriverFeaturesSel, select);
      this.write(Reg.DriverFeatures, Number((features >> BigInt(32 * select)) & 0xffff_ffffn));
    }
    await this.write(Reg.Status, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    return (this.read(Reg.Status) & FEATURES_OK) !== 0;
  }

  async queueSizeMax(index: number): Promise<number> {
    this.write(Reg.QueueSel, index);
    return this.read(Reg.QueueSizeMax);
  }

  async setUp(index: number, size: number, addresses: RingAreas): Promise<boolean> {
    this.write(Reg.QueueSel, index);
    this.write(Reg.QueueSize, size);
    for (const [part, register] of PARTS) {
      this.write(register, addresses[part] % 2 ** 32);
      this.write(register + 4, Math.floor(addresses[part] / 2 ** 32));
    }
    await this.write(Reg.QueueReady, 1);
    return this.read(Reg.QueueReady) === 1;
  }

  async start(): Promise<void> {
    await this.write(Reg.Status, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }

  kick(index: number): void {
    this.write(Reg.QueueNotify, index);
  }

  tookUsedInterrupt(): boolean {
    return this.#took(INTERRUPT_USED_BUFFER);
  }

  tookConfigInterrupt(): boolean {
    return this.#took(INTERRUPT_CONFIG_CHANGE);
  }

  /** "After receiving an interrupt, the driver MUST read InterruptStatus to check what caused the interrupt" */
  #took(event: number): boolean {
    if (this.takeLine()) {
      const events = this.read(Reg.InterruptStatus);
      this.write(Reg.InterruptACK, events);
      this.#events |= events;
    }
    const took = (this.#events & event) !== 0;
    this.#events &= ~event;
    return took;
  }

  async readConfig(offset: number, sizeBytes: 1 | 2 | 4): Promise<number> {
    return this.read(Reg.Config + offset, sizeBytes);
  }

  async writeConfig(offset: number, sizeBytes: 1 | 2 | 4, value: number): Promise<void> {
    await this.write(Reg.Config + offset, value, sizeBytes);
  }

  async isBroken(): Promise<boolean> {
    return (this.read(Reg.Status) & DEVICE_NEEDS_RESET) !== 0;
  }

  async reset(): Promise<void> {
    await this.write(Reg.Status, 0);
  }
}
