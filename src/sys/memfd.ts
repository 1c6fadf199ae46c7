// sys: memfd_create(2): an anonymous file in memory, shared by its descriptor; and file seals.
import { F_ADD_SEALS, F_GET_SEALS, F_SEAL_SHRINK, MFD_ALLOW_SEALING, MFD_CLOEXEC } from './constants.ts';
import { check, closeFd, libc } from './libc.ts';
import { callScratch } from './scratch.ts';

/** Creates a memfd of `sizeBytes`, sealed against shrinking, so that no access to a mapping of it can raise SIGBUS. */
export function createMemfd(name: string, sizeBytes: number): number {
  // SAFETY: the name is in this thread's scratch until the call returns.
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

/** Returns the F_SEAL_ bits of a file in memory, `undefined` for any other file. Takes no lock. fcntl(2). */
export function sealsOf(fd: number): number | undefined {
  const seals = libc.fcntl(fd, F_GET_SEALS, 0);
  return seals < 0 ? undefined : seals;
}

/**
 * Seals received memory against shrinking, if its creator allowed that (MFD_ALLOW_SEALING). Returns whether it is
 * sealed now. **It may block** for as long as another process writes to the file: sealing takes the lock of the inode,
 * and a writer whose buffer is on FUSE can hold that lock for ever. `sealsOf` never blocks.
 */
export function sealShrink(fd: number): boolean {
  const isSealed = (): boolean => ((sealsOf(fd) ?? 0) & F_SEAL_SHRINK) !== 0;
  return isSealed() || libc.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) === 0;
}
