// kvm: the KVM ioctls: with a number, or with a structure in scratch memory.
import { check, ioctlByValue, libc } from '../sys/libc.ts';
import { callScratch, type Scratch } from '../sys/scratch.ts';
import { IOCTLS, type IoctlName } from './constants.ts';

/**
 * An ioctl that takes a number of up to 32 bits, or nothing. Returns its result. Throws SystemError with the ioctl's
 * name.
 */
export function ioctlWithNumber(fd: number, name: IoctlName, value = 0, advice?: string): number {
  // SAFETY: the kernel takes the third argument of these ioctls as a number, never as an address.
  return check(ioctlByValue(fd, Number(IOCTLS[name]), value), name, advice);
}

/** Returns this thread's scratch memory, `sizeBytes` of it zeroed. The next system call may overwrite it. */
export function zeroedStruct(sizeBytes: number): DataView<ArrayBuffer> {
  callScratch.bytes.fill(0, 0, sizeBytes);
  return callScratch.view;
}

/**
 * An ioctl on the structure in `memory`. Default: this thread's scratch memory. Returns its result. Throws SystemError.
 */
export function ioctlWithStruct(fd: number, name: IoctlName, advice?: string, memory: Scratch = callScratch): number {
  // SAFETY: the structure is in off-heap memory that outlives the call, and KVM keeps no reference to it.
  return check(libc.ioctl(fd, IOCTLS[name], memory.address), name, advice);
}
