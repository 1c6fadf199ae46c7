// kvm: the in-kernel interrupt controllers: two 8259s, an IOAPIC, a local APIC for each vCPU; and a timer.
import {
  IRQCHIPS,
  type IrqchipName,
  KVM_IRQ_LEVEL,
  KVM_IRQCHIP,
  KVM_PIT_CONFIG,
  KVM_PIT_SPEAKER_DUMMY,
} from './constants.ts';
import { ioctlWithNumber, ioctlWithStruct, zeroedStruct } from './ioctl.ts';

/** One entry of the IOAPIC's redirection table, in the layout of its datasheet. */
export interface Redirection {
  /** The interrupt vector, 16 to 255. */
  readonly vector: number;
  /** Level-triggered. Default: edge-triggered. */
  readonly level?: boolean;
  /** Masked. Default: false. */
  readonly masked?: boolean;
  /** APIC id of the destination. Default: 0. */
  readonly destination?: number;
}

const LEVEL = 1n << 15n;
const MASKED = 1n << 16n;
const DESTINATION_SHIFT = 56n;

/** The interrupt controllers, KVM_CREATE_IRQCHIP (api.rst 4.24). Has to be made before the first vCPU. */
export class Irqchip {
  readonly #vmFd: number;

  constructor(vmFd: number) {
    this.#vmFd = vmFd;
    ioctlWithNumber(vmFd, 'KVM_CREATE_IRQCHIP', 0, 'it is made once, before the first vCPU');
  }

  /** Creates the timer, an 8254 on GSI 0. KVM_CREATE_PIT2 (api.rst 4.71). */
  createTimer(): void {
    // Port 0x61 is part of it: without the dummy speaker every read of a guest that calibrates its clock there is an
    // exit.
    zeroedStruct(KVM_PIT_CONFIG.sizeBytes).setUint32(KVM_PIT_CONFIG.flags, KVM_PIT_SPEAKER_DUMMY, true);
    ioctlWithStruct(this.#vmFd, 'KVM_CREATE_PIT2');
  }

  /** Raises or lowers a line. KVM_IRQ_LINE (api.rst 4.25). */
  setLine(gsi: number, isHigh: boolean): void {
    const level = zeroedStruct(KVM_IRQ_LEVEL.sizeBytes);
    level.setUint32(KVM_IRQ_LEVEL.irq, gsi, true);
    level.setUint32(KVM_IRQ_LEVEL.level, isHigh ? 1 : 0, true);
    ioctlWithStruct(this.#vmFd, 'KVM_IRQ_LINE', `GSI ${gsi}`);
  }

  /** Returns a copy of struct kvm_irqchip of one controller. */
  state(chip: IrqchipName): Uint8Array<ArrayBuffer> {
    const memory = zeroedStruct(KVM_IRQCHIP.sizeBytes);
    memory.setUint32(KVM_IRQCHIP.chip, IRQCHIPS[chip], true);
    ioctlWithStruct(this.#vmFd, 'KVM_GET_IRQCHIP');
    return new Uint8Array(memory.buffer, 0, KVM_IRQCHIP.sizeBytes).slice();
  }

  /** Sets the state of one controller, in the format that `state` returns. */
  setState(state: Uint8Array): void {
    new Uint8Array(zeroedStruct(KVM_IRQCHIP.sizeBytes).buffer).set(state);
    ioctlWithStruct(this.#vmFd, 'KVM_SET_IRQCHIP');
  }

  /** Programs a pin of the IOAPIC, as the guest does through its registers. */
  redirect(pin: number, { vector, level, masked, destination }: Redirection): void {
    const state = this.state('ioapic');
    const entry =
      BigInt(vector) | (level ? LEVEL : 0n) | (masked ? MASKED : 0n) | (BigInt(destination ?? 0) << DESTINATION_SHIFT);
    new DataView(state.buffer).setBigUint64(KVM_IRQCHIP.ioapicRedirection + 8 * pin, entry, true);
    this.setState(state);
  }
}
