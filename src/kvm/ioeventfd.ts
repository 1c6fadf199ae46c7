// kvm: ioeventfd: a guest's write to an address signals an eventfd without an exit. KVM_IOEVENTFD (api.rst
// 4.59).
import type { EventFd } from '../sys/event-fd.ts';
import { SystemError } from '../sys/libc.ts';
import {
  KVM_IOEVENTFD,
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IOEVENTFD_FLAG_PIO,
} from './constants.ts';
import { HeldDescriptors } from './held-descriptors.ts';
import { ioctlWithStruct, zeroedStruct } from './ioctl.ts';

/** An address whose writes signal an eventfd. */
export interface Doorbell {
  /** Memory addresses, or ports. */
  readonly bus: 'mmio' | 'pio';
  /** A guest address, or a port number. */
  readonly address: number;
  /**
   * Length of the write; 0 takes any length, and is the fastest. The guest must not read registers at such an address.
   */
  readonly lengthBytes: 0 | 1 | 2 | 4 | 8;
  /**
   * Signal for this value only; others cause an exit, unless another doorbell at the address takes them. Default: any
   * value.
   */
  readonly value?: number | bigint;
}

/**
 * Whether KVM refuses the second of two doorbells: same bus and address, and either takes any length, or both take the
 * same length and either takes any value or both take the same value. Their eventfds do not matter.
 */
export function collides(a: Doorbell, b: Doorbell): boolean {
  if (a.bus !== b.bus || a.address !== b.address) return false;
  if (a.lengthBytes === 0 || b.lengthBytes === 0) return true;
  if (a.lengthBytes !== b.lengthBytes) return false;
  return a.value === undefined || b.value === undefined || BigInt(a.value) === BigInt(b.value);
}

/** Describes a doorbell: `pio 0xe0, 2 bytes, value 1`. */
export function describeDoorbell({ bus, address, lengthBytes, value }: Doorbell): string {
  const length = lengthBytes === 0 ? 'any length' : `${lengthBytes} byte${lengthBytes === 1 ? '' : 's'}`;
  return `${bus} 0x${address.toString(16)}, ${length}, ${value === undefined ? 'any value' : `value ${value}`}`;
}

const ADVICE: { readonly [code: string]: string } = {
  EINVAL: 'the descriptor must be an eventfd, and the addresses it covers must not wrap around',
  ENOSPC: 'the bus is full: it takes 1000 devices that are not doorbells',
};

/** The doorbells of one VM. Keeps a list of them to explain EEXIST, for which KVM gives no details. */
export class IoEventFds {
  readonly #vmFd: number;
  readonly #held = new HeldDescriptors();
  readonly #assigned = new Set<IoEventFd>();

  constructor(vmFd: number) {
    this.#vmFd = vmFd;
  }

  /**
   * Makes writes to `doorbell` signal `eventFd`. One eventfd may have many doorbells. Throws RangeError for a doorbell
   * that no write can match, SystemError if the kernel refuses; EEXIST names the other doorbell.
   */
  assign(doorbell: Doorbell, eventFd: EventFd): IoEventFd {
    checkDoorbell(doorbell);
    const fd = this.#held.hold(eventFd);
    try {
      setIoEventFd(this.#vmFd, doorbell, fd);
    } catch (error) {
      this.#held.release(eventFd);
      throw this.#explained(error as SystemError, doorbell);
    }
    const registration = new IoEventFd(doorbell, (isClosed) => {
      if (!isClosed) setIoEventFd(this.#vmFd, doorbell, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
      this.#assigned.delete(registration);
      this.#held.release(eventFd);
    });
    this.#assigned.add(registration);
    return registration;
  }

  #explained({ code }: SystemError, doorbell: Doorbell): SystemError {
    const own = describeDoorbell(doorbell);
    if (code !== 'EEXIST') {
      return new SystemError('KVM_IOEVENTFD', code, `(${own})${code in ADVICE ? `: ${ADVICE[code]}` : ''}`);
    }
    const other = [...this.#assigned].find((one) => collides(one.doorbell, doorbell));
    const inTheWay =
      other === undefined ? 'a device that was not registered here' : `(${describeDoorbell(other.doorbell)})`;
    const advice = `(${own}) collides with ${inTheWay}: give each a value, or an address of its own`;
    return new SystemError('KVM_IOEVENTFD', code, advice);
  }

  /** Marks all as removed by the close of the VM: removing one takes some milliseconds, until no vCPU uses the bus. */
  closed(): void {
    for (const one of this.#assigned) one.closed();
  }
}

/** One doorbell, until disposed. Its count stays in the eventfd: read it after disposal, not before. */
export class IoEventFd implements Disposable {
  /** The doorbell that was assigned. */
  readonly doorbell: Doorbell;
  #deassign: ((isClosed: boolean) => void) | undefined;

  constructor(doorbell: Doorbell, deassign: (isClosed: boolean) => void) {
    this.doorbell = doorbell;
    this.#deassign = deassign;
  }

  /** Called by IoEventFds when the VM was closed. */
  closed(): void {
    this.#deassign?.(true);
    this.#deassign = undefined;
  }

  /**
   * Removes the doorbell: afterwards writes no longer signal. Throws SystemError if the kernel refuses; they then still
   * do.
   */
  [Symbol.dispose](): void {
    this.#deassign?.(false);
    this.#deassign = undefined;
  }
}

/** KVM accepts a value that no write of that length can have; such a doorbell would never signal. */
function checkDoorbell({ lengthBytes, value }: Doorbell): void {
  if (value === undefined) return;
  if (lengthBytes === 0) throw new RangeError('a doorbell of any length cannot ask for a value: give it a length');
  if (BigInt.asUintN(8 * lengthBytes, BigInt(value)) !== BigInt(value)) {
    throw new RangeError(`a write of ${lengthBytes} bytes never has the value ${value}: the doorbell would not ring`);
  }
}

function setIoEventFd(vmFd: number, doorbell: Doorbell, fd: number, flags = 0): void {
  const { bus, address, lengthBytes, value } = doorbell;
  const memory = zeroedStruct(KVM_IOEVENTFD.sizeBytes);
  const busFlag = bus === 'pio' ? KVM_IOEVENTFD_FLAG_PIO : 0;
  const valueFlag = value === undefined ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH;
  memory.setBigUint64(KVM_IOEVENTFD.datamatch, BigInt(value ?? 0), true);
  memory.setBigUint64(KVM_IOEVENTFD.address, BigInt(address), true);
  memory.setUint32(KVM_IOEVENTFD.length, lengthBytes, true);
  memory.setInt32(KVM_IOEVENTFD.fd, fd, true);
  memory.setUint32(KVM_IOEVENTFD.flags, busFlag | valueFlag | flags, true);
  ioctlWithStruct(vmFd, 'KVM_IOEVENTFD');
}
