// test/kvm: the helpers of tests on the real kernel: opens /dev/kvm or skips, makes a small VM, returns errno names.
import { type TestContext, test } from 'node:test';
import {
  KVM_IOEVENTFD,
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IOEVENTFD_FLAG_PIO,
  KVM_IRQFD,
} from '../../src/kvm/constants.ts';
import { ioctlWithStruct, zeroedStruct } from '../../src/kvm/ioctl.ts';
import { Kvm } from '../../src/kvm/kvm.ts';
import type { SystemError } from '../../src/sys/libc.ts';
import { patience } from '../../src/testing/patience.ts';

/** Why there is no KVM to test with, if there is none. */
export function kvmProblem(): string | undefined {
  try {
    Kvm.open()[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const skip = kvmProblem() ?? false;

/** The most one takes on a quiet machine is a few seconds. */
const LIMIT_MS = 60_000;

/** A test of what the kernel does; skipped with the reason where it cannot be asked. */
export function kvmTest(name: string, body: (kvm: Kvm, t: TestContext) => void | Promise<void>): void {
  test(name, { skip, timeout: patience(LIMIT_MS) }, async (t) => {
    using kvm = Kvm.open();
    await body(kvm, t);
  });
}

/** The errno name a call is refused with, or `ok`. */
export function refusal(call: () => unknown): string {
  try {
    call();
    return 'ok';
  } catch (error) {
    const { code } = error as SystemError;
    if (code === undefined) throw error;
    return code;
  }
}

export const DATAMATCH = KVM_IOEVENTFD_FLAG_DATAMATCH;
export const PIO = KVM_IOEVENTFD_FLAG_PIO;
export const DEASSIGN = KVM_IOEVENTFD_FLAG_DEASSIGN;

export interface RawIoEventFd {
  readonly fd: number;
  readonly address?: bigint;
  readonly length?: number;
  readonly value?: bigint;
  readonly flags?: number;
}

/** KVM_IOEVENTFD without Belfry's checks; returns the kernel's answer. */
export function ioeventfd(
  vmFd: number,
  { fd, address = 0xd000n, length = 4, value = 0n, flags = 0 }: RawIoEventFd,
): string {
  const memory = zeroedStruct(KVM_IOEVENTFD.sizeBytes);
  memory.setBigUint64(KVM_IOEVENTFD.datamatch, value, true);
  memory.setBigUint64(KVM_IOEVENTFD.address, address, true);
  memory.setUint32(KVM_IOEVENTFD.length, length, true);
  memory.setInt32(KVM_IOEVENTFD.fd, fd, true);
  memory.setUint32(KVM_IOEVENTFD.flags, flags, true);
  return refusal(() => ioctlWithStruct(vmFd, 'KVM_IOEVENTFD'));
}

export interface RawIrqFd {
  readonly fd: number;
  readonly gsi?: number;
  readonly flags?: number;
  readonly resampleFd?: number;
}

/** KVM_IRQFD without Belfry's checks; returns the kernel's answer. */
export function irqfd(vmFd: number, { fd, gsi = 5, flags = 0, resampleFd = 0 }: RawIrqFd): string {
  const memory = zeroedStruct(KVM_IRQFD.sizeBytes);
  memory.setUint32(KVM_IRQFD.fd, fd, true);
  memory.setUint32(KVM_IRQFD.gsi, gsi, true);
  memory.setUint32(KVM_IRQFD.flags, flags, true);
  memory.setUint32(KVM_IRQFD.resampleFd, resampleFd, true);
  return refusal(() => ioctlWithStruct(vmFd, 'KVM_IRQFD'));
}
