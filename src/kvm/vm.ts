// kvm: a virtual machine: its memory, processors, interrupt controllers and doorbells.
import { closeFd } from '../sys/libc.ts';
import { CAPABILITIES, type Capability } from './constants.ts';
import { defaultRoutes, GsiRouting } from './gsi-routing.ts';
import { ioctlWithNumber, ioctlWithStruct, zeroedStruct } from './ioctl.ts';
import { IoEventFds } from './ioeventfd.ts';
import { Irqchip } from './irqchip.ts';
import { IrqFds } from './irqfd.ts';
import { MemorySlots } from './memory-slots.ts';
import { Vcpu } from './vcpu.ts';

/**
 * Four pages below the firmware that Intel processors need for real mode: neither guest memory nor devices may be
 * there.
 */
export const RESERVED_PAGES = { start: 0xfffb_c000, end: 0xfffc_0000 } as const;
const IDENTITY_MAP = RESERVED_PAGES.start;
const TASK_STATE = RESERVED_PAGES.start + 0x1000;

/** A virtual machine, made by `Kvm.createVm`. */
export class Vm implements Disposable {
  /** The descriptor, for ioctls that have no method here. */
  readonly fd: number;
  /** Guest memory. */
  readonly memory: MemorySlots;
  /** Doorbells: a guest's write signals an eventfd. */
  readonly ioeventfds: IoEventFds;
  /** Interrupts: signalling an eventfd interrupts the guest. */
  readonly irqfds: IrqFds;
  /** The routes of interrupts; at first those of `createIrqchip`. */
  readonly routing: GsiRouting;
  readonly #runBytes: number;

  /** Takes over a descriptor from KVM_CREATE_VM. Called by `Kvm.createVm`. */
  constructor(fd: number, runBytes: number) {
    this.fd = fd;
    this.#runBytes = runBytes;
    this.memory = new MemorySlots(fd);
    this.ioeventfds = new IoEventFds(fd);
    this.irqfds = new IrqFds(fd);
    this.routing = new GsiRouting(fd, defaultRoutes());
    zeroedStruct(8).setBigUint64(0, BigInt(IDENTITY_MAP), true);
    ioctlWithStruct(fd, 'KVM_SET_IDENTITY_MAP_ADDR');
    ioctlWithNumber(fd, 'KVM_SET_TSS_ADDR', TASK_STATE);
  }

  /** Returns 0 if the capability is missing, else 1 or its value. */
  capability(name: Capability): number {
    return ioctlWithNumber(this.fd, 'KVM_CHECK_EXTENSION', CAPABILITIES[name]);
  }

  /** Creates the in-kernel interrupt controllers, which irqfds need. Before the first vCPU. Throws SystemError. */
  createIrqchip(): Irqchip {
    return new Irqchip(this.fd);
  }

  /** Creates a vCPU in the state after reset; `index` is its APIC id. Dispose it before the VM. Throws SystemError. */
  createVcpu(index: number): Vcpu {
    const advice = `vCPU ${index}: there are ${this.capability('KVM_CAP_MAX_VCPUS')} at most, and each index is used once`;
    return Vcpu.own({
      fd: ioctlWithNumber(this.fd, 'KVM_CREATE_VCPU', index, advice),
      index,
      runBytes: this.#runBytes,
    });
  }

  /** Closes the VM, after its vCPUs were disposed. Removes irqfds, ioeventfds and memory. */
  [Symbol.dispose](): void {
    this.irqfds[Symbol.dispose]();
    this.memory[Symbol.dispose]();
    closeFd(this.fd);
    this.ioeventfds.closed();
  }
}
