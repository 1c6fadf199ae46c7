// bus/pci: virtio-pci without the legacy part, VIRTIO 1.3 §4.1: a PCI function with two BARs, MSI-X and no
// interrupt line.
import { EventFd } from '../../../sys/event-fd.ts';
import { LimitedLog } from '../../../sys/limited-log.ts';
import { VIRTIO_ID_BLOCK } from '../../../virtio/spec.ts';
import type { CallTarget } from '../../queue/queue-host.ts';
import { DeviceRegisters } from '../device-registers.ts';
import type { Registers } from '../registers.ts';
import type { Transport, TransportOptions } from '../transport.ts';
import { BarWindows, type PciMemory } from './bar-windows.ts';
import { CommonRegisters } from './common-config.ts';
import { ConfigSpace } from './config-space.ts';
import { type MsiPort, Msix } from './msix.ts';
import { PciDoorbells } from './pci-doorbells.ts';
import * as pci from './spec.ts';
import { addVirtioCapabilities } from './virtio-capabilities.ts';

export interface VirtioPciOptions extends TransportOptions {
  /** The address space of its BARs. */
  readonly memory: PciMemory;
  readonly messages: MsiPort;
}

/** Class codes by device type: "other mass storage" for a disk, "unassigned" for other devices. */
const CLASS_CODES: { readonly [type: number]: number } = { [VIRTIO_ID_BLOCK]: 0x01_80_00 };
const CLASS_CODE_UNASSIGNED = 0xff_00_00;

/** One virtio-pci function. */
export class VirtioPci implements Transport {
  readonly registers: DeviceRegisters;
  /** Its configuration space, which the bus maps. */
  readonly config = new ConfigSpace();
  readonly #msix: Msix;
  readonly #common: CommonRegisters;
  readonly #doorbells: PciDoorbells;
  readonly #windows: BarWindows;
  readonly #msixControl: number;
  /** The call target of hosts while MSI-X is off: signalled since the driver last read the ISR status. */
  readonly #isr = EventFd.create();
  #isrQueue = false;
  #isrConfig = false;
  #mayAccessMemory = false;

  /** Throws SystemError when there are no eventfds left. */
  constructor(options: VirtioPciOptions) {
    const { host, loop, log, doorbells, memory, messages } = options;
    const vectors = Math.min(host.device.queueSizes.length + 1, pci.MSIX_VECTORS_MAX);
    const limited = new LimitedLog((line) => log(line), { burst: 1 }).log;
    this.#msix = new Msix(vectors, messages, limited);
    this.#doorbells = new PciDoorbells(doorbells, limited);
    const lines = {
      assignDoorbell: (queue: number, eventFd: EventFd) => this.#doorbells.assign(queue, eventFd),
      call: (queue: number) => this.#call(queue),
      configChanged: () => this.#configChanged(),
      reset: () => this.#reset(),
      log,
    };
    // Paused until the driver enables DMA.
    this.registers = new DeviceRegisters(host, loop, lines, { ...options, paused: true });
    this.#common = new CommonRegisters(this.registers, vectors);
    this.#header(host.device.type);
    this.#windows = new BarWindows(this.config, memory, limited);
    this.#windows.add(0, pci.BAR0_BYTES, this.#structures(), (address) =>
      this.#doorbells.moveTo(address === undefined ? undefined : address + pci.Bar0.notify),
    );
    this.#windows.add(1, pci.BAR1_BYTES, this.#msix);
    this.#msixControl = this.#addMsixCapability(vectors);
    addVirtioCapabilities(this.config, this.registers, this.#structures());
    this.#listen();
  }

  #header(type: number): void {
    const { config } = this;
    config.define(pci.PciConfig.vendorId, 2, pci.VIRTIO_PCI_VENDOR);
    config.define(pci.PciConfig.deviceId, 2, pci.VIRTIO_PCI_DEVICE + type);
    const command = pci.PCI_COMMAND_MEMORY | pci.PCI_COMMAND_DMA | pci.PCI_COMMAND_INTX_DISABLE;
    config.define(pci.PciConfig.command, 2, 0, command);
    config.define(pci.PciConfig.status, 2, pci.PCI_STATUS_CAPABILITIES);
    const classCode = CLASS_CODES[type] ?? CLASS_CODE_UNASSIGNED;
    config.define(pci.PciConfig.revisionId, 4, classCode * 0x100 + pci.VIRTIO_PCI_REVISION);
    config.define(pci.PciConfig.cacheLineSize, 1, 0, 0xff);
    config.define(pci.PciConfig.subsystemVendorId, 2, pci.VIRTIO_PCI_VENDOR);
    config.define(pci.PciConfig.subsystemId, 2, pci.VIRTIO_PCI_SUBSYSTEM + type);
    config.define(pci.PciConfig.interruptLine, 1, 0, 0xff);
  }

  #addMsixCapability(vectors: number): number {
    const at = this.config.addCapability(pci.PCI_CAP_ID_MSIX, pci.MSIX_CAPABILITY_BYTES);
    const writable = pci.MSIX_CONTROL_ENABLE | pci.MSIX_CONTROL_MASK_ALL;
    this.config.define(at + pci.MsixCapability.control, 2, vectors - 1, writable);
    // The low three bits name the BAR.
    this.config.define(at + pci.MsixCapability.table, 4, pci.Bar1.table | 1);
    this.config.define(at + pci.MsixCapability.pending, 4, pci.Bar1.pending | 1);
    return at + pci.MsixCapability.control;
  }

  #listen(): void {
    this.config.listen(pci.PciConfig.command, 2, { afterWrite: () => this.#commandChanged() });
    this.config.listen(this.#msixControl, 2, { afterWrite: () => this.#msixChanged() });
    this.config.listen(pci.PciConfig.status, 2, { beforeRead: () => this.#showInterrupt() });
  }

  get #command(): number {
    return this.config.view.getUint16(pci.PciConfig.command, true);
  }

  #commandChanged(): void | Promise<void> {
    this.#windows.update();
    const mayAccessMemory = (this.#command & pci.PCI_COMMAND_DMA) !== 0;
    if (mayAccessMemory === this.#mayAccessMemory) return;
    this.#mayAccessMemory = mayAccessMemory;
    this.#msixChanged();
    return mayAccessMemory ? this.registers.resume() : this.registers.pause();
  }

  get #msixEnabled(): boolean {
    return (this.config.view.getUint16(this.#msixControl, true) & pci.MSIX_CONTROL_ENABLE) !== 0;
  }

  /** A message is a write to memory: it stays pending until the driver enables DMA. */
  #msixChanged(): void {
    const control = this.config.view.getUint16(this.#msixControl, true);
    const masked = (control & pci.MSIX_CONTROL_MASK_ALL) !== 0 || !this.#mayAccessMemory;
    this.#msix.control((control & pci.MSIX_CONTROL_ENABLE) !== 0, masked);
    for (const { index } of this.registers.queues) this.registers.callChanged(index);
  }

  #call(queue: number): CallTarget | undefined {
    const eventFd = this.#msixEnabled ? this.#msix.eventFd(this.#common.queueVector(queue)) : this.#isr;
    return eventFd && { fd: eventFd.fd };
  }

  /** "The device MUST set the Device Configuration Interrupt bit in ISR status before sending", §4.1.4.5.1. */
  #configChanged(): void {
    this.#isrConfig = true;
    if (this.#msixEnabled) this.#msix.eventFd(this.#common.configVector)?.signal();
  }

  #isrStatus(): number {
    this.#isrQueue = this.#isr.clear() || this.#isrQueue;
    return (this.#isrQueue ? pci.ISR_QUEUE : 0) | (this.#isrConfig ? pci.ISR_CONFIG : 0);
  }

  /** "The device MUST reset ISR status to 0 on driver read." */
  #takeIsrStatus(): number {
    const status = this.#isrStatus();
    this.#isrQueue = this.#isrConfig = false;
    return status;
  }

  /**
   * "the device MUST set the Interrupt Status bit … to the logical OR of all bits in ISR status", where MSI-X is off.
   */
  #showInterrupt(): void {
    const interrupt = !this.#msixEnabled && this.#isrStatus() !== 0 ? pci.PCI_STATUS_INTERRUPT : 0;
    this.config.view.setUint16(pci.PciConfig.status, pci.PCI_STATUS_CAPABILITIES | interrupt, true);
  }

  /** The registers of BAR 0. */
  #structures(): Registers {
    return {
      read: (offset, sizeBytes) => {
        if (offset < pci.Bar0.isr) return this.#common.read(offset, sizeBytes);
        if (offset === pci.Bar0.isr) return this.#takeIsrStatus();
        if (offset < pci.Bar0.device || offset >= pci.Bar0.notify) return 0;
        return this.registers.readConfig(offset - pci.Bar0.device, sizeBytes);
      },
      write: (offset, sizeBytes, value) => {
        if (offset < pci.Bar0.isr) return this.#common.write(offset, sizeBytes, value);
        if (offset < pci.Bar0.device) return;
        if (offset < pci.Bar0.notify) return this.registers.writeConfig(offset - pci.Bar0.device, sizeBytes, value);
        if ((offset - pci.Bar0.notify) % pci.NOTIFY_MULTIPLIER === 0)
          this.registers.kick((offset - pci.Bar0.notify) / pci.NOTIFY_MULTIPLIER);
      },
    };
  }

  #reset(): void {
    this.#isr.clear();
    this.#isrQueue = this.#isrConfig = false;
    this.#common.reset();
  }

  async close(): Promise<void> {
    await this.registers.close();
    this.#windows[Symbol.dispose]();
    this.#msix[Symbol.dispose]();
    this.#isr[Symbol.dispose]();
  }
}
