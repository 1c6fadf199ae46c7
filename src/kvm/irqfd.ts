// kvm: irqfd: signalling an eventfd interrupts the guest, without user space in between. KVM_IRQFD (api.rst
// 4.75).
import type { EventFd } from '../sys/event-fd.ts';
import { SystemError } from '../sys/libc.ts';
import { KVM_IRQFD, KVM_IRQFD_FLAG_DEASSIGN, KVM_IRQFD_FLAG_RESAMPLE } from './constants.ts';
import { HeldDescriptors } from './held-descriptors.ts';
import { ioctlWithStruct, zeroedStruct } from './ioctl.ts';

/** Which interrupt an eventfd raises. */
export interface IrqFdOptions {
  /** The interrupt, by the route of this GSI when the eventfd is signalled: a line or a message. */
  readonly gsi: number;
  /**
   * Makes the line level-triggered: it stays raised until the guest acknowledges it. KVM then lowers it and signals
   * this eventfd, and a device that still has work signals again. The caller keeps the eventfd.
   */
  readonly resample?: EventFd;
}

/** The irqfds of one VM. */
export class IrqFds implements Disposable {
  readonly #vmFd: number;
  readonly #held = new HeldDescriptors();
  readonly #assigned = new Map<EventFd, IrqFd>();

  constructor(vmFd: number) {
    this.#vmFd = vmFd;
  }

  /**
   * Makes signals of `eventFd` interrupt the guest. KVM takes the count, so other readers and watchers of it see
   * nothing. An earlier count interrupts once. Throws SystemError.
   */
  assign(options: IrqFdOptions, eventFd: EventFd): IrqFd {
    const fd = this.#held.hold(eventFd);
    try {
      setIrqFd(this.#vmFd, options, fd);
    } catch (error) {
      this.#held.release(eventFd);
      throw this.#explained(error as SystemError, options, eventFd);
    }
    const registration = new IrqFd(options.gsi, () => {
      setIrqFd(this.#vmFd, { gsi: options.gsi }, fd, KVM_IRQFD_FLAG_DEASSIGN);
      this.#assigned.delete(eventFd);
      this.#held.release(eventFd);
    });
    this.#assigned.set(eventFd, registration);
    return registration;
  }

  #explained(error: SystemError, { gsi }: IrqFdOptions, eventFd: EventFd): SystemError {
    if (error.code !== 'EBUSY') return error;
    const other = this.#assigned.get(eventFd);
    const where = other === undefined ? 'in another VM' : `of GSI ${other.gsi}`;
    const advice = `GSI ${gsi}: this eventfd is the irqfd ${where} already: make another eventfd`;
    return new SystemError('KVM_IRQFD', 'EBUSY', advice);
  }

  [Symbol.dispose](): void {
    for (const one of this.#assigned.values()) one[Symbol.dispose]();
  }
}

/** One irqfd, until disposed. */
export class IrqFd implements Disposable {
  /** The GSI that it raises. */
  readonly gsi: number;
  #deassign: (() => void) | undefined;

  constructor(gsi: number, deassign: () => void) {
    this.gsi = gsi;
    this.#deassign = deassign;
  }

  /** Removes the irqfd: afterwards the eventfd raises no interrupt. */
  [Symbol.dispose](): void {
    this.#deassign?.();
    this.#deassign = undefined;
  }
}

function setIrqFd(vmFd: number, { gsi, resample }: IrqFdOptions, fd: number, flags = 0): void {
  const memory = zeroedStruct(KVM_IRQFD.sizeBytes);
  memory.setUint32(KVM_IRQFD.fd, fd, true);
  memory.setUint32(KVM_IRQFD.gsi, gsi, true);
  memory.setUint32(KVM_IRQFD.flags, flags | (resample === undefined ? 0 : KVM_IRQFD_FLAG_RESAMPLE), true);
  memory.setUint32(KVM_IRQFD.resampleFd, resample?.fd ?? 0, true);
  ioctlWithStruct(vmFd, 'KVM_IRQFD', `GSI ${gsi}: this needs the in-kernel irqchip (createIrqchip comes first)`);
}
