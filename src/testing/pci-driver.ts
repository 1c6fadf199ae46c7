// testing: the driver of a virtio-pci device, §4.1: finds it on the bus, sizes and maps its BARs, uses its
// structures and MSI-X.
import * as pci from '../transports/bus/pci/spec.ts';
import { VirtioPci } from '../transports/bus/pci/virtio-pci.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { RingAreas } from '../virtio/ring-format.ts';
import { DeviceStatus } from '../virtio/spec.ts';
import { PCI_WINDOW, PORTS } from '../vmm/address-map.ts';
import { PCI_PORTS_BYTES, PciBus } from '../vmm/pci-bus.ts';
import type { RawGuest } from './raw-guest.ts';
import { StandInMachine, type StandInOptions } from './stand-in-machine.ts';
import type { TransportDriver } from './transport-driver.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET } = DeviceStatus;
const { CommonConfig: Field } = pci;
const BARS = 6;
const MESSAGE_ADDRESS = 0xfee0_0000;
const PARTS = [
  ['descriptorArea', Field.queue_desc],
  ['driverArea', Field.queue_driver],
  ['deviceArea', Field.queue_device],
] as const;

/** A structure as a capability describes it. */
export interface FoundStructure {
  /** Offset of the capability in the configuration space. */
  readonly capability: number;
  readonly bar: number;
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Drives a device over virtio-pci in this process, without KVM. */
export class PciDriver implements TransportDriver {
  readonly machine: StandInMachine;
  readonly transport: VirtioPci;
  readonly device: number;
  /** The size of each BAR as the sizing protocol found it, 0 where there is none. */
  readonly barBytes: readonly number[];
  /** By `cfg_type`. */
  readonly structures = new Map<number, FoundStructure>();
  #msix = 0;
  /** Vectors whose message arrived. */
  readonly #came = new Set<number>();

  constructor(device: VirtioDevice, guest: RawGuest, options: StandInOptions = {}) {
    this.machine = new StandInMachine(options);
    const { memory, messages } = this.machine;
    this.transport = new VirtioPci({ ...this.machine.optionsFor(device, guest), memory, messages });
    const bus = new PciBus();
    this.device = bus.add(this.transport.config);
    this.machine.ports.add(PORTS.pciConfig, PCI_PORTS_BYTES, bus);
    this.barBytes = Array.from({ length: BARS }, (_, bar) => this.#sizeOf(bar));
    this.#findCapabilities();
    this.#placeBars();
    this.command(pci.PCI_COMMAND_MEMORY | pci.PCI_COMMAND_DMA);
    this.enableMsix();
  }

  get lines(): readonly string[] {
    return this.machine.lines;
  }

  /** Reads the configuration space through the ports. */
  readPci(register: number, sizeBytes = 4): number {
    this.#select(register);
    return this.machine.ports.read(PORTS.pciConfig + 4 + (register % 4), sizeBytes);
  }

  writePci(register: number, value: number, sizeBytes = 4): void | Promise<void> {
    this.#select(register);
    return this.machine.ports.write(PORTS.pciConfig + 4 + (register % 4), sizeBytes, value);
  }

  #select(register: number): void {
    const address = 0x8000_0000 + this.device * 0x800 + (register & 0xfc);
    this.machine.ports.write(PORTS.pciConfig, 4, address);
  }

  command(bits: number): void | Promise<void> {
    return this.writePci(pci.PciConfig.command, bits, 2);
  }

  #sizeOf(bar: number): number {
    const register = pci.PciConfig.bar0 + 4 * bar;
    this.writePci(register, 0xffff_ffff);
    const mask = this.readPci(register) & ~0xf;
    this.writePci(register, 0);
    return mask === 0 ? 0 : -mask;
  }

  #placeBars(): void {
    let next: number = PCI_WINDOW.start;
    for (const [bar, bytes] of this.barBytes.entries()) {
      if (bytes === 0) continue;
      next = Math.ceil(next / bytes) * bytes;
      this.writePci(pci.PciConfig.bar0 + 4 * bar, next);
      next += bytes;
    }
  }

  barAddress(bar: number): number {
    return (this.readPci(pci.PciConfig.bar0 + 4 * bar) & ~0xf) >>> 0;
  }

  #findCapabilities(): void {
    for (let at = this.readPci(pci.PciConfig.capabilities, 1); at !== 0; at = this.readPci(at + 1, 1)) {
      const id = this.readPci(at, 1);
      if (id === pci.PCI_CAP_ID_MSIX) this.#msix = at;
      if (id !== pci.PCI_CAP_ID_VNDR) continue;
      const { type, bar, offset, sizeBytes } = pci.VirtioCapability;
      this.structures.set(this.readPci(at + type, 1), {
        capability: at,
        bar: this.readPci(at + bar, 1),
        offset: this.readPci(at + offset),
        sizeBytes: this.readPci(at + sizeBytes),
      });
    }
  }

  /** Offset of the MSI-X capability in the configuration space. */
  get msix(): number {
    return this.#msix;
  }

  get vectors(): number {
    return (this.readPci(this.#msix + pci.MsixCapability.control, 2) & 0x7ff) + 1;
  }

  /** Gives each vector its own message, unmasks it, and enables MSI-X. */
  enableMsix(): void {
    for (let vector = 0; vector < this.vectors; vector++) {
      this.writeEntry(vector, pci.MsixEntry.addressLow, MESSAGE_ADDRESS);
      this.writeEntry(vector, pci.MsixEntry.addressHigh, 0);
      this.writeEntry(vector, pci.MsixEntry.data, vector);
      this.writeEntry(vector, pci.MsixEntry.control, 0);
    }
    this.controlMsix(pci.MSIX_CONTROL_ENABLE);
  }

  controlMsix(bits: number): void {
    this.writePci(this.#msix + pci.MsixCapability.control, bits, 2);
  }

  readEntry(vector: number, field: number): number {
    return this.machine.read(this.#entry(vector, field), 4);
  }

  writeEntry(vector: number, field: number, value: number): void {
    this.machine.write(this.#entry(vector, field), 4, value);
  }

  #entry(vector: number, field: number): number {
    const table = this.readPci(this.#msix + pci.MsixCapability.table);
    return this.barAddress(table & 7) + (table & ~7) + vector * pci.MSIX_ENTRY_BYTES + field;
  }

  /** The pending bit of a vector. */
  isPending(vector: number): boolean {
    const pending = this.readPci(this.#msix + pci.MsixCapability.pending);
    const word = this.machine.read(this.barAddress(pending & 7) + (pending & ~7) + 4 * Math.floor(vector / 32), 4);
    return ((word >>> (vector % 32)) & 1) === 1;
  }

  /** The guest address of a structure. */
  addressOf(type: number): number {
    const { bar, offset } = this.structures.get(type) as FoundStructure;
    return this.barAddress(bar) + offset;
  }

  read(field: number, sizeBytes: number): number {
    return this.machine.read(this.addressOf(pci.VIRTIO_PCI_CAP_COMMON_CFG) + field, sizeBytes);
  }

  write(field: number, value: number, sizeBytes: number): void | Promise<void> {
    return this.machine.write(this.addressOf(pci.VIRTIO_PCI_CAP_COMMON_CFG) + field, sizeBytes, value);
  }

  async offered(): Promise<bigint> {
    await this.write(Field.device_status, ACKNOWLEDGE, 1);
    await this.write(Field.device_status, ACKNOWLEDGE | DRIVER, 1);
    const words = [0, 1].map((select) => {
      this.write(Field.device_feature_select, select, 4);
      return BigInt(this.read(Field.device_feature, 4));
    });
    return (words[0] as bigint) | ((words[1] as bigint) << 32n);
  }

  async accept(features: bigint): Promise<boolean> {
    for (const select of [0, 1]) {
      this.write(Field.driver_feature_select, select, 4);
      this.write(Field.driver_feature, Number((features >> BigInt(32 * select)) & 0xffff_ffffn), 4);
    }
    await this.write(Field.device_status, ACKNOWLEDGE | DRIVER | FEATURES_OK, 1);
    return (this.read(Field.device_status, 1) & FEATURES_OK) !== 0;
  }

  async queueSizeMax(index: number): Promise<number> {
    this.write(Field.queue_select, index, 2);
    return this.read(Field.queue_size, 2);
  }

  /** Uses vector 0 for configuration changes, and 1 + index for a queue. */
  async setUp(index: number, size: number, addresses: RingAreas): Promise<boolean> {
    this.write(Field.config_msix_vector, 0, 2);
    this.write(Field.queue_select, index, 2);
    this.write(Field.queue_size, size, 2);
    this.write(Field.queue_msix_vector, 1 + index, 2);
    for (const [part, field] of PARTS) {
      this.write(field, addresses[part] % 2 ** 32, 4);
      this.write(field + 4, Math.floor(addresses[part] / 2 ** 32), 4);
    }
    await this.write(Field.queue_enable, 1, 2);
    return this.read(Field.queue_enable, 2) === 1;
  }

  async start(): Promise<void> {
    await this.write(Field.device_status, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK, 1);
  }

  kick(index: number): void {
    this.write(Field.queue_select, index, 2);
    const notify = this.structures.get(pci.VIRTIO_PCI_CAP_NOTIFY_CFG) as FoundStructure;
    const multiplier = this.readPci(notify.capability + pci.VirtioCapability.extra);
    const offset = this.read(Field.queue_notify_off, 2) * multiplier;
    this.machine.write(this.addressOf(pci.VIRTIO_PCI_CAP_NOTIFY_CFG) + offset, 2, index);
  }

  tookUsedInterrupt(index: number): boolean {
    return this.took(1 + index);
  }

  tookConfigInterrupt(): boolean {
    return this.took(0);
  }

  /** Whether a vector's message arrived since the last call. */
  took(vector: number): boolean {
    for (const { data } of this.machine.takeMessages()) this.#came.add(data);
    return this.#came.delete(vector);
  }

  async readConfig(offset: number, sizeBytes: 1 | 2 | 4): Promise<number> {
    return this.machine.read(this.addressOf(pci.VIRTIO_PCI_CAP_DEVICE_CFG) + offset, sizeBytes);
  }

  async writeConfig(offset: number, sizeBytes: 1 | 2 | 4, value: number): Promise<void> {
    await this.machine.write(this.addressOf(pci.VIRTIO_PCI_CAP_DEVICE_CFG) + offset, sizeBytes, value);
  }

  async isBroken(): Promise<boolean> {
    return (this.read(Field.device_status, 1) & DEVICE_NEEDS_RESET) !== 0;
  }

  async reset(): Promise<void> {
    await this.write(Field.device_status, 0, 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.close(this.transport);
  }
}
