// kvm: /dev/kvm: opens and checks it, reports its capabilities, and creates virtual machines.
import { constants as file } from 'node:fs';
import { O_CLOEXEC } from '../sys/constants.ts';
import { closeFd, libc, SystemError, systemError } from '../sys/libc.ts';
import { callScratch } from '../sys/scratch.ts';
import { CAPABILITIES, type Capability, KVM_API_VERSION } from './constants.ts';
import { ioctlWithNumber } from './ioctl.ts';
import { Vm } from './vm.ts';

const ADVICE: { readonly [code: string]: string } = {
  ENOENT:
    'is not there: load the module (modprobe kvm_intel or kvm_amd), or enable virtualization in the firmware or the outer VM',
  EACCES: 'may not be opened: add yourself to its group (sudo usermod -aG kvm $USER) and log in again',
  EPERM: 'may not be opened here: let this container have the device (--device /dev/kvm)',
  ENODEV: 'has no driver behind it: load the module (modprobe kvm_intel or kvm_amd)',
  ENXIO: 'has no driver behind it: load the module (modprobe kvm_intel or kvm_amd)',
};

/**
 * /dev/kvm: creates virtual machines, and reports capabilities.
 *
 * @example A guest of one instruction, `hlt`:
 * using kvm = Kvm.open();
 * using vm = kvm.createVm();
 * const fd = createMemfd('guest', 4096);
 * vm.memory.add({ guestAddress: 0, sizeBytes: 4096, fd }).bytes[0] = 0xf4;
 * using vcpu = vm.createVcpu(0);
 * const special = getSpecialRegisters(vcpu.fd);
 * setSpecialRegisters(vcpu.fd, { ...special, cs: { ...special.cs, base: 0n, selector: 0 } });
 * setRegisters(vcpu.fd, { rip: 0n });
 * vcpu.run() === KVM_EXIT_HLT;
 */
export class Kvm implements Disposable {
  /** The descriptor of /dev/kvm, for `supportedCpuid`. */
  readonly fd: number;
  /** Size of a vCPU's run page. */
  readonly #runBytes: number;

  private constructor(fd: number, runBytes: number) {
    this.fd = fd;
    this.#runBytes = runBytes;
  }

  /** Opens and checks the device. Throws SystemError, whose message says what to do. */
  static open(path = '/dev/kvm'): Kvm {
    if (process.arch !== 'x64') throw new SystemError('open', 'ENOTSUP', 'KVM is driven on x86-64 only so far');
    const fd = openDevice(path);
    try {
      const version = apiVersion(fd, path);
      if (version !== KVM_API_VERSION) {
        const advice = `${path} speaks version ${version}, not ${KVM_API_VERSION}: this needs Linux 2.6.22 or newer`;
        throw new SystemError('KVM_GET_API_VERSION', 'EPROTO', advice);
      }
      return new Kvm(fd, ioctlWithNumber(fd, 'KVM_GET_VCPU_MMAP_SIZE'));
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** Returns 0 if the capability is missing, else 1 or its value. */
  capability(name: Capability): number {
    return ioctlWithNumber(this.fd, 'KVM_CHECK_EXTENSION', CAPABILITIES[name]);
  }

  /** Creates a VM without memory, processors and devices. It may outlive this object. Throws SystemError. */
  createVm(): Vm {
    return new Vm(createVmFd(this.fd), this.#runBytes);
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}

/**
 * Returns the descriptor of a new VM. Repeats KVM_CREATE_VM when a signal interrupts it (EINTR). Throws SystemError.
 */
export function createVmFd(kvmFd: number, ioctl: typeof ioctlWithNumber = ioctlWithNumber): number {
  for (;;) {
    try {
      return ioctl(kvmFd, 'KVM_CREATE_VM', 0, 'the kernel has no room for another VM');
    } catch (error) {
      if (!(error instanceof SystemError && error.code === 'EINTR')) throw error;
    }
  }
}

function openDevice(path: string): number {
  // SAFETY: the path is in this thread's scratch until the call returns.
  const fd = libc.open(callScratch.cString(0, path), file.O_RDWR | O_CLOEXEC, 0);
  if (fd >= 0) return fd;
  const { code } = systemError('open');
  throw new SystemError('open', code, `${path} ${ADVICE[code] ?? 'could not be opened'}`);
}

function apiVersion(fd: number, path: string): number {
  return ioctlWithNumber(fd, 'KVM_GET_API_VERSION', 0, `${path} is not KVM: name the device of KVM, usually /dev/kvm`);
}
