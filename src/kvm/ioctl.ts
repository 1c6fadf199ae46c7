// Ground floor: how every file of this room talks to KVM: an ioctl with a number, or with a structure that lies in scratch memory.
import { check, ioctlByValue, libc } from '../sys/libc.ts';
import { callScratch, type Scratch } from '../sys/scratch.ts';
import { IOCTLS, type IoctlName } from './constants.ts';

/** An ioctl that takes a number of up to 32 bits, or nothing. Gives what it returns. Throws SystemError named after the ioctl. */
export function ioctlWithNumber(fd: number, name: IoctlName, value = 0, advice?: string): number {
  // SAFETY: the kernel takes the third argument of these ioctls as a number, never as an address.
  return check(ioctlByValue(fd, Number(IOCTLS[name]), value), name, advice);
}

/** `sizeBytes` of zeroed scratch for one structure. The next call of anything may use the same bytes. */
export function zeroedStruct(sizeBytes: number): DataView<ArrayBuffer> {
  callScratch.bytes.fill(0, 0, sizeBytes);
  return callScratch.view;
}

/** An ioctl on the structure that was just written into `memory`: this thread's scratch, unless said. */
export function ioctlWithStruct(fd: number, name: IoctlName, advice?: string, memory: Scratch = callScratch): number {
  // SAFETY: the structure lies in off-heap memory that outlives the call, and KVM keeps no reference to it.
  return check(libc.ioctl(fd, IOCTLS[name], memory.address), name, advice);
}
