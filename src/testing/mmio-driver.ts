// testing: the driver of a virtio-mmio device, §4.2.3, on a stand-in machine.
import { MMIO_BYTES } from '../transports/bus/mmio/spec.ts';
import { VirtioMmio } from '../transports/bus/mmio/virtio-mmio.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { RawGuest } from './raw-guest.ts';
import { RegisterDriver } from './register-driver.ts';
import { StandInMachine, type StandInOptions } from './stand-in-machine.ts';

const WINDOW = 0xd000_0000;

/** Drives a device over virtio-mmio in this process, without KVM. */
export class MmioDriver extends RegisterDriver {
  readonly machine: StandInMachine;
  readonly transport: VirtioMmio;

  constructor(device: VirtioDevice, guest: RawGuest, options: StandInOptions = {}) {
    super();
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

  takeLine(): boolean {
    return this.machine.takeLine();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.close(this.transport);
  }
}
