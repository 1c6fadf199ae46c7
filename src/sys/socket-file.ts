// sys: the file of a listening socket: created by bind(2), replaced if it is stale, removed unless it was replaced.
import { lstatSync, unlinkSync } from 'node:fs';
import { constants as os } from 'node:os';
import { dirname } from 'node:path';
import { AF_UNIX, O_CLOEXEC, O_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM } from './constants.ts';
import { check, closeFd, errno, libc, SystemError, systemError } from './libc.ts';
import { callScratch } from './scratch.ts';
import { writeAddress } from './socket-address.ts';

/** A file that `bindFile` made. Plain data, so that another thread of the process can remove it. */
export interface SocketFile {
  readonly path: string;
  /** Its device and inode number. The bound socket keeps the inode, so that no other file can get its number. */
  readonly identity: string | undefined;
}

/** Returns a new UNIX socket: non-blocking, closed on exec. */
export function newSocket(type = SOCK_STREAM): number {
  return check(libc.socket(AF_UNIX, type | O_CLOEXEC | O_NONBLOCK, 0), 'socket');
}

/** Binds a socket to a new file at `path`. Throws SystemError: ENOENT, EACCES, EADDRINUSE, ENAMETOOLONG. */
export function bindFile(fd: number, path: string): SocketFile {
  const length = writeAddress(path);
  // SAFETY: the address is in this thread's scratch until the call returns.
  if (libc.bind(fd, callScratch.address, length) < 0)
    throw systemError('bind', `${path}: does the folder ${dirname(path)} exist, and may you write in it?`);
  return { path, identity: identityOf(path) };
}

/** Removes the file, unless another one has replaced it. Call it while the socket is open. Throws nothing. */
export function removeSocketFile({ path, identity }: SocketFile): void {
  try {
    if (identity !== undefined && identityOf(path) === identity) unlinkSync(path);
  } catch {
    // Its folder was removed, or is not writable any more.
  }
}

function identityOf(path: string): string | undefined {
  const status = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return status && `${status.dev}:${status.ino}`;
}

/** Removes a socket file that no socket is bound to. Throws SystemError EEXIST, EADDRINUSE, ENAMETOOLONG. */
export function removeStale(path: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isSocket()) throw new SystemError('bind', 'EEXIST', `${path} exists and is not a socket`);
  if (isBound(path)) throw new SystemError('bind', 'EADDRINUSE', `${path}: another process serves it`);
  unlinkSync(path);
}

/**
 * Whether a socket is bound to the file. It connects with another socket type: a listener refuses that with EPROTOTYPE
 * and gets no client, and a stale file refuses it with ECONNREFUSED.
 */
function isBound(path: string): boolean {
  const length = writeAddress(path);
  const fd = newSocket(SOCK_SEQPACKET);
  // SAFETY: the address is in this thread's scratch until the call returns.
  const result = libc.connect(fd, callScratch.address, length);
  const isStale = result < 0 && errno() === os.errno.ECONNREFUSED;
  closeFd(fd);
  return !isStale;
}
