// testing: the driver of a virtio-mmio device, §4.2.3, on a stand-in machine.
import {
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  MMIO_BYTES,
  MmioRegister as Reg,
} from '../transports/bus/mmio/spec.ts';
import { VirtioMmio } from '../transports/bus/mmio/virtio-mmio.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { RingAreas } from '../virtio/ring-format.ts';
import { DeviceStatus } from '../virtio/spec.ts';
import type { RawGuest } from './raw-guest.ts';
import { StandInMachine, type StandInOptions } from './stand-in-machine.ts';
import type { TransportDriver } from './transport-driver.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET } = DeviceStatus;
const WINDOW = 0xd000_0000;
const PARTS = [
  ['descriptorArea', Reg.QueueDescLow],
  ['driverArea', Reg.QueueDriverLow],
  ['deviceArea', Reg.QueueDeviceLow],
] as const;

/** Drives a device over virtio-mmio in this process, without KVM. */
export class MmioDriver implements TransportDriver {
  readonly machine: StandInMachine;
  readonly transport: VirtioMmio;
  #events = 0;

  constructor(device: VirtioDevice, guest: RawGuest, options: StandInOptions = {}) {
    this.machine = new StandInMachine(options);
    const interrupt = this.machine.line;
    this.transport = new VirtioMmio({ ...this.machine.optionsFor(device, guest), address: WINDOW, interrupt });
    this.machine.memory.add(WINDOW, MMIO_BYTES, this.transport);
  }

  get lines(): readonly string[] {
    return this.machine.lines;
  }

  read(register: number, sizeBytes = 4): number {
    return this.machine.read(WINDOW + register, sizeBytes);
  }

  write(register: number, value: number, sizeBytes = 4): void | Promise<void> {
    return this.machine.write(WINDOW + register, sizeBytes, value);
  }

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
    if (this.machine.takeLine()) {
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.close(this.transport);
  }
}
