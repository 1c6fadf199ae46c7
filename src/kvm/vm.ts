// Ground floor: a virtual machine: memory, processors, interrupt controllers, doorbells; each has a file of its own.
import { closeFd } from '../sys/libc.ts';
import { CAPABILITIES, type Capability } from './constants.ts';
import { defaultRoutes, GsiRouting } from './gsi-routing.ts';
import { ioctlWithNumber, ioctlWithStruct, zeroedStruct } from './ioctl.ts';
import { IoEventFds } from './ioeventfd.ts';
import { Irqchip } from './irqchip.ts';
import { IrqFds } from './irqfd.ts';
import { MemorySlots } from './memory-slots.ts';
import { Vcpu } from './vcpu.ts';

/** Four pages below the firmware that Intel processors need for real mode: no guest memory, no device may stand there. */
export const RESERVED_PAGES = { start: 0xfffb_c000, end: 0xfffc_0000 } as const;
const IDENTITY_MAP = RESERVED_PAGES.start;
const TASK_STATE = RESERVED_PAGES.start + 0x1000;

/** A virtual machine: memory, processors, interrupt controllers, doorbells. `Kvm.createVm` makes one. */
export class Vm implements Disposable {
  /** For ioctls that have no method here. */
  readonly fd: number;
  /** Guest memory. */
  readonly memory: MemorySlots;
  /** Doorbells: a guest's write rings an eventfd. */
  readonly ioeventfds: IoEventFds;
  /** Interrupts: an eventfd's ring interrupts the guest. */
  readonly irqfds: IrqFds;
  /** Where interrupts lead; begins as `createIrqchip` leaves it. */
  readonly routing: GsiRouting;
  readonly #runBytes: number;

  /** Takes over a descriptor that KVM_CREATE_VM gave. Made by `Kvm.createVm`. */
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

  /** What this VM can do: 0, 1, or the number the capability stands for. */
  capability(name: Capability): number {
    return ioctlWithNumber(this.fd, 'KVM_CHECK_EXTENSION', CAPABILITIES[name]);
  }

  /** Interrupt controllers inside the kernel. Before the first vCPU; without them there is no irqfd. Throws SystemError. */
  createIrqchip(): Irqchip {
    return new Irqchip(this.fd);
  }

  /** A vCPU in the state after reset; `index` becomes its APIC id. Dispose it before the VM. Throws SystemError. */
  createVcpu(index: number): Vcpu {
    const advice = `vCPU ${index}: there are ${this.capability('KVM_CAP_MAX_VCPUS')} at most, and each index is used once`;
    return Vcpu.own({
      fd: ioctlWithNumber(this.fd, 'KVM_CREATE_VCPU', index, advice),
      index,
      runBytes: this.#runBytes,
    });
  }

  /** Ends the machine, its vCPUs having been disposed before it: nothing interrupts it, rings for it or writes to its memory any more. */
  [Symbol.dispose](): void {
    this.irqfds[Symbol.dispose]();
    this.memory[Symbol.dispose]();
    closeFd(this.fd);
    this.ioeventfds.closed();
  }
}
