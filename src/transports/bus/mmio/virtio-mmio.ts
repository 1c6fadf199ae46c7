// bus/mmio: virtio-mmio, VIRTIO 1.3 §4.2: a device as a page of registers and one interrupt.
import { EventFd } from '../../../sys/event-fd.ts';
import { DeviceRegisters } from '../device-registers.ts';
import type { QueueRegisters, RingArea } from '../queue-registers.ts';
import type { Registers } from '../registers.ts';
import type { InterruptPort, Transport, TransportOptions } from '../transport.ts';
import {
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  MMIO_MAGIC,
  MMIO_VERSION,
  MmioRegister as Reg,
} from './spec.ts';

export interface VirtioMmioOptions extends TransportOptions {
  /** Guest address of the window. */
  readonly address: number;
  /** The interrupt line: edge-triggered, because another process may signal it and this one cannot lower it. */
  readonly interrupt: InterruptPort;
}

const VENDOR = 0x464c_4542; // "BELF"
/** "Reading from a non-existent region … results in a length of -1" and in "a base address of 0xffffffffffffffff". */
const NO_REGION = 0xffff_ffff;

interface Register {
  readonly read?: (mmio: VirtioMmio) => number;
  readonly write?: (mmio: VirtioMmio, value: number) => void | Promise<void>;
}

/** One virtio-mmio device: its window of registers and its interrupt. */
export class VirtioMmio implements Transport, Registers {
  readonly registers: DeviceRegisters;
  /** The selectors that the driver wrote: words of feature bits, and a queue. */
  offeredSelect = 0;
  acceptedSelect = 0;
  queueSelect = 0;
  #configChanged = false;
  readonly #interrupt = EventFd.create();
  readonly #interruptLine: Disposable;

  /** Throws SystemError if the kernel refuses the irqfd. */
  constructor(options: VirtioMmioOptions) {
    const { host, loop, log, doorbells, address, interrupt } = options;
    this.#interruptLine = interrupt.assign(this.#interrupt);
    const lines = {
      assignDoorbell: (queue: number, eventFd: EventFd) =>
        doorbells.assign({ address: address + Reg.QueueNotify, lengthBytes: 4, value: queue }, eventFd),
      call: () => ({ fd: this.#interrupt.fd }),
      configChanged: () => {
        this.#configChanged = true;
        this.#interrupt.signal();
      },
      reset: () => this.#reset(),
      log,
    };
    this.registers = new DeviceRegisters(host, loop, lines, options);
  }

  /** The queue the driver selected. */
  get queue(): QueueRegisters | undefined {
    return this.registers.queue(this.queueSelect);
  }

  /**
   * The host of a queue signals the interrupt itself, maybe from another process. So the "used buffer" bit is always
   * set while a queue runs: a driver that checks the ring needlessly loses nothing, one that does not check would lose
   * a request.
   */
  get interruptStatus(): number {
    return (
      (this.registers.mayHaveUsed ? INTERRUPT_USED_BUFFER : 0) | (this.#configChanged ? INTERRUPT_CONFIG_CHANGE : 0)
    );
  }

  acknowledge(events: number): void {
    if ((events & INTERRUPT_CONFIG_CHANGE) !== 0) this.#configChanged = false;
  }

  read(offset: number, sizeBytes: number): number {
    if (offset >= Reg.Config) return this.registers.readConfig(offset - Reg.Config, sizeBytes);
    // "The driver MUST only use 32 bit wide and aligned reads and writes"
    if (sizeBytes !== 4) return 0;
    return REGISTERS[offset]?.read?.(this) ?? 0;
  }

  write(offset: number, sizeBytes: number, value: number): void | Promise<void> {
    if (offset >= Reg.Config) return this.registers.writeConfig(offset - Reg.Config, sizeBytes, value);
    if (sizeBytes !== 4) return;
    return REGISTERS[offset]?.write?.(this, value >>> 0);
  }

  #reset(): void {
    this.#configChanged = false;
    this.offeredSelect = this.acceptedSelect = this.queueSelect = 0;
  }

  async close(): Promise<void> {
    await this.registers.close();
    this.#interruptLine[Symbol.dispose]();
    this.#interrupt[Symbol.dispose]();
  }
}

const constant = (value: number): Register => ({ read: () => value });

const addressWord = (part: RingArea, half: 0 | 1): Register => ({
  write: (mmio, word) => mmio.queue?.setAddressWord(part, half, word),
});

/** By offset. Registers that are not here, or have no `read`, read as zero; those without `write` ignore writes. */
const REGISTERS: { readonly [offset: number]: Register } = {
  [Reg.MagicValue]: constant(MMIO_MAGIC),
  [Reg.Version]: constant(MMIO_VERSION),
  [Reg.DeviceID]: { read: ({ registers }) => registers.device.type },
  [Reg.VendorID]: constant(VENDOR),
  [Reg.DeviceFeatures]: { read: ({ registers, offeredSelect }) => registers.offeredWord(offeredSelect) },
  [Reg.DeviceFeaturesSel]: {
    write: (mmio, select) => {
      mmio.offeredSelect = select;
    },
  },
  [Reg.DriverFeatures]: { write: ({ registers, acceptedSelect }, word) => registers.acceptWord(acceptedSelect, word) },
  [Reg.DriverFeaturesSel]: {
    write: (mmio, select) => {
      mmio.acceptedSelect = select;
    },
  },
  [Reg.QueueSel]: {
    write: (mmio, index) => {
      mmio.queueSelect = index;
    },
  },
  [Reg.QueueSizeMax]: { read: ({ queue }) => queue?.sizeMax ?? 0 },
  [Reg.QueueSize]: {
    write: ({ queue }, size) => {
      if (queue !== undefined) queue.size = size;
    },
  },
  [Reg.QueueReady]: {
    read: ({ queue }) => (queue?.ready ? 1 : 0),
    write: ({ registers, queueSelect }, value) => registers.setReady(queueSelect, (value & 1) !== 0),
  },
  [Reg.QueueNotify]: { write: ({ registers }, index) => registers.kick(index) },
  [Reg.InterruptStatus]: { read: ({ interruptStatus }) => interruptStatus },
  [Reg.InterruptACK]: { write: (mmio, events) => mmio.acknowledge(events) },
  [Reg.Status]: {
    read: ({ registers }) => registers.status,
    write: ({ registers }, status) => registers.writeStatus(status),
  },
  [Reg.QueueDescLow]: addressWord('descriptorArea', 0),
  [Reg.QueueDescHigh]: addressWord('descriptorArea', 1),
  [Reg.QueueDriverLow]: addressWord('driverArea', 0),
  [Reg.QueueDriverHigh]: addressWord('driverArea', 1),
  [Reg.QueueDeviceLow]: addressWord('deviceArea', 0),
  [Reg.QueueDeviceHigh]: addressWord('deviceArea', 1),
  [Reg.SHMLenLow]: constant(NO_REGION),
  [Reg.SHMLenHigh]: constant(NO_REGION),
  [Reg.SHMBaseLow]: constant(NO_REGION),
  [Reg.SHMBaseHigh]: constant(NO_REGION),
  [Reg.ConfigGeneration]: { read: ({ registers }) => registers.generation },
};
