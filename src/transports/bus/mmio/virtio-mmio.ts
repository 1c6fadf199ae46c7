// Ground floor: virtio-mmio, VIRTIO 1.3 §4.2: a device as a page of registers and one interrupt.
import { EventFd } from '../../../sys/event-fd.ts';
import { DriverSession } from '../device-registers.ts';
import type { RingPart, TransportQueue } from '../queue-registers.ts';
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
  /** The line: edge-triggered, because InterruptStatus is not always ours to lower. */
  readonly interrupt: InterruptPort;
}

const VENDOR = 0x464c_4542; // "BELF"
/** "Reading from a non-existent region … results in a length of -1" and in "a base address of 0xffffffffffffffff". */
const NO_REGION = 0xffff_ffff;

interface Register {
  readonly read?: (mmio: VirtioMmio) => number;
  readonly write?: (mmio: VirtioMmio, value: number) => void | Promise<void>;
}

export class VirtioMmio implements Transport, Registers {
  readonly session: DriverSession;
  /** What the driver selected: words of feature bits, and a queue. */
  offeredSelect = 0;
  acceptedSelect = 0;
  queueSelect = 0;
  #configChanged = false;
  readonly #interrupt = EventFd.create();
  readonly #interruptLine: Disposable;

  /** Throws SystemError where the kernel has no interrupt for it. */
  constructor(options: VirtioMmioOptions) {
    const { device, host, loop, log, doorbells, address, interrupt } = options;
    this.#interruptLine = interrupt.assign(this.#interrupt);
    const lines = {
      assignDoorbell: (queue: number, eventFd: EventFd) =>
        doorbells.assign({ address: address + Reg.QueueNotify, lengthBytes: 4, value: queue }, eventFd),
      callFd: () => this.#interrupt.fd,
      configChanged: () => {
        this.#configChanged = true;
        this.#interrupt.signal();
      },
      reset: () => this.#reset(),
      say: log,
    };
    this.session = new DriverSession(device, host, loop, lines, options);
  }

  /** The queue the driver selected. */
  get queue(): TransportQueue | undefined {
    return this.session.queue(this.queueSelect);
  }

  /**
   * Whoever runs a queue rings the interrupt himself, maybe from another process: so while a queue runs it may be because of a used
   * buffer, always. A driver that looks in vain loses nothing, one that does not look would.
   */
  get interruptStatus(): number {
    return (this.session.mayHaveUsed ? INTERRUPT_USED_BUFFER : 0) | (this.#configChanged ? INTERRUPT_CONFIG_CHANGE : 0);
  }

  acknowledge(events: number): void {
    if ((events & INTERRUPT_CONFIG_CHANGE) !== 0) this.#configChanged = false;
  }

  read(offset: number, sizeBytes: number): number {
    if (offset >= Reg.Config) return this.session.readConfig(offset - Reg.Config, sizeBytes);
    // "The driver MUST only use 32 bit wide and aligned reads and writes"
    if (sizeBytes !== 4) return 0;
    return registers[offset]?.read?.(this) ?? 0;
  }

  write(offset: number, sizeBytes: number, value: number): void | Promise<void> {
    if (offset >= Reg.Config) return this.session.writeConfig(offset - Reg.Config, sizeBytes, value);
    if (sizeBytes !== 4) return;
    return registers[offset]?.write?.(this, value >>> 0);
  }

  #reset(): void {
    this.#configChanged = false;
    this.offeredSelect = this.acceptedSelect = this.queueSelect = 0;
  }

  async close(): Promise<void> {
    await this.session.close();
    this.#interruptLine[Symbol.dispose]();
    this.#interrupt[Symbol.dispose]();
  }
}

const constant = (value: number): Register => ({ read: () => value });

const addressWord = (part: RingPart, half: 0 | 1): Register => ({
  write: (mmio, word) => mmio.queue?.setAddressWord(part, half, word),
});

/** By offset. What is not here reads as zero and takes nothing, as do reads of what is only written, and writes of what is only read. */
const registers: { readonly [offset: number]: Register } = {
  [Reg.MagicValue]: constant(MMIO_MAGIC),
  [Reg.Version]: constant(MMIO_VERSION),
  [Reg.DeviceID]: { read: ({ session }) => session.device.type },
  [Reg.VendorID]: constant(VENDOR),
  [Reg.DeviceFeatures]: { read: ({ session, offeredSelect }) => session.offeredWord(offeredSelect) },
  [Reg.DeviceFeaturesSel]: {
    write: (mmio, select) => {
      mmio.offeredSelect = select;
    },
  },
  [Reg.DriverFeatures]: { write: ({ session, acceptedSelect }, word) => session.acceptWord(acceptedSelect, word) },
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
    write: ({ session, queueSelect }, value) => session.setReady(queueSelect, (value & 1) !== 0),
  },
  [Reg.QueueNotify]: { write: ({ session }, index) => session.kick(index) },
  [Reg.InterruptStatus]: { read: ({ interruptStatus }) => interruptStatus },
  [Reg.InterruptACK]: { write: (mmio, events) => mmio.acknowledge(events) },
  [Reg.Status]: {
    read: ({ session }) => session.status,
    write: ({ session }, status) => session.writeStatus(status),
  },
  [Reg.QueueDescLow]: addressWord('descriptorTable', 0),
  [Reg.QueueDescHigh]: addressWord('descriptorTable', 1),
  [Reg.QueueDriverLow]: addressWord('availableRing', 0),
  [Reg.QueueDriverHigh]: addressWord('availableRing', 1),
  [Reg.QueueDeviceLow]: addressWord('usedRing', 0),
  [Reg.QueueDeviceHigh]: addressWord('usedRing', 1),
  [Reg.SHMLenLow]: constant(NO_REGION),
  [Reg.SHMLenHigh]: constant(NO_REGION),
  [Reg.SHMBaseLow]: constant(NO_REGION),
  [Reg.SHMBaseHigh]: constant(NO_REGION),
  [Reg.ConfigGeneration]: { read: ({ session }) => session.generation },
};
