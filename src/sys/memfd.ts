// Cellar: memfd_create(2): a file that lives in memory and has no name, for memory shared by descriptor.
import { F_ADD_SEALS, F_SEAL_SHRINK, MFD_ALLOW_SEALING, MFD_CLOEXEC } from './constants.ts';
import { check, closeFd, libc } from './libc.ts';
import { callScratch } from './scratch.ts';

/** Makes one of `sizeBytes`, sealed against shrinking, so that a mapping of it can never fault. The caller owns the descriptor. */
export function createMemfd(name: string, sizeBytes: number): number {
  // SAFETY: the name lies in this thread's scratch until the call returns.
  const fd = check(libc.memfd_create(callScratch.cString(0, name), MFD_CLOEXEC | MFD_ALLOW_SEALING), 'memfd_create');
  try {
    check(libc.ftruncate(fd, BigInt(sizeBytes)), 'ftruncate', `${sizeBytes} bytes of memory`);
    check(libc.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 'fcntl');
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}
