// sys: locks against a second writer of an image, the same as QEMU's (block/file-posix.c), so QEMU respects them.
import { DynamicLibrary } from 'node:ffi';
import { constants as os } from 'node:os';
import { F_OFD_GETLK, F_OFD_SETLK, F_RDLCK, F_UNLCK, F_WRLCK } from './constants.ts';
import { errno, SystemError, systemError } from './libc.ts';
import { callScratch } from './scratch.ts';

/**
 * QEMU's protocol. A process that uses an image in way N holds a read lock on byte 100 + N. One that allows no other
 * process to use it in way N holds a read lock on byte 200 + N. After taking its locks, a process checks that no other
 * one holds a lock that conflicts with them.
 */
const USES = 100;
const FORBIDS = 200;
const READ = 0;
const WRITE = 1;
const RESIZE = 3;

// SAFETY: fcntl of the running process; the table in libc.ts has the form with an int, this one takes a struct flock.
const library = new DynamicLibrary(null);
const fcntl = library.getFunction('fcntl', {
  return: 'int32',
  arguments: ['int32', 'int32', 'pointer'],
});

/** struct flock { short l_type, l_whence; off_t l_start, l_len; pid_t l_pid; } for one byte. fcntl(2). */
function lock(fd: number, command: number, type: number, byte: number): number {
  callScratch.bytes.fill(0, 0, 32);
  callScratch.view.setInt16(0, type, true);
  callScratch.view.setBigInt64(8, BigInt(byte), true);
  callScratch.view.setBigInt64(16, 1n, true);
  // SAFETY: 32 bytes of this thread's scratch, into which F_OFD_GETLK writes its result.
  return fcntl(fd, command, callScratch.address);
}

function isHeldByOthers(fd: number, byte: number): boolean {
  return lock(fd, F_OFD_GETLK, F_WRLCK, byte) === 0 && callScratch.view.getInt16(0, true) !== F_UNLCK;
}

/**
 * Locks an image until `fd` and its duplicates are closed: for one writer or for readers, or, `isShared`, for all who
 * share it too. Throws SystemError.
 */
export function lockImage(fd: number, path: string, readOnly: boolean, isShared = false): void {
  const uses = readOnly ? [READ] : [READ, WRITE];
  const forbids = isShared ? [] : [WRITE, RESIZE];
  for (const byte of [...uses.map((use) => USES + use), ...forbids.map((use) => FORBIDS + use)]) {
    if (lock(fd, F_OFD_SETLK, F_RDLCK, byte) === 0) continue;
    if (errno() === os.errno.EAGAIN || errno() === os.errno.EACCES) throw systemError('fcntl', inUse(path));
    return; // a file system without locks
  }
  if (forbids.some((use) => isHeldByOthers(fd, USES + use))) throw new SystemError('fcntl', 'EAGAIN', inUse(path));
  if (uses.some((use) => isHeldByOthers(fd, FORBIDS + use)))
    throw new SystemError('fcntl', 'EAGAIN', `${inUse(path)}, or open it read-only on both sides`);
}

function inUse(path: string): string {
  return `${path} is in use, by another process or another disk of this one: stop that first`;
}
