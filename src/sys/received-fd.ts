// sys: a descriptor that another process sent: what kind it is, and how to close it without blocking on the sender.
import { readlinkSync } from 'node:fs';
import { closeAsynchronously } from './asynchronous-close.ts';
import {
  AF_UNIX,
  AT_EMPTY_PATH,
  AT_STATX_DONT_SYNC,
  F_GET_SEALS,
  F_GETFL,
  O_CLOEXEC,
  O_PATH,
  S_IFIFO,
  S_IFMT,
  SO_DOMAIN,
  SO_TYPE,
  SOCK_STREAM,
} from './constants.ts';
import { check, closeFd, libc, SystemError } from './libc.ts';
import { callScratch } from './scratch.ts';
import { socketOption } from './socket-options.ts';

/**
 * - `eventfd`: neither reading nor writing blocks while O_NONBLOCK is set.
 * - `socket`: a stream socket of the UNIX domain. Writing does not block. Reading may block, in spite of O_NONBLOCK:
 *   recvmsg(2) takes a lock, and another reader may hold it during a page fault of its buffer, which may last for ever.
 * - `foreign-socket`: any other socket. Almost every call may block on its lock; writing sends into a network.
 * - `pipe`: reading and writing may block, for the same reason as reading a socket.
 * - `memory`: a file of shmem or hugetlbfs (memfd, tmpfs). A page fault in it does not depend on its sender.
 * - `anon-inode`: another object of the kernel: timerfd, epoll, pidfd, …
 * - `other`: a file, a folder, a device. Its file system may be served by the sender (FUSE) and never reply.
 */
export type ReceivedKind = keyof typeof NAMES;

const NAMES = {
  eventfd: 'an eventfd',
  socket: 'a UNIX stream socket',
  'foreign-socket': 'a socket, but not a UNIX stream socket',
  pipe: 'a pipe',
  memory: 'a memfd or a file in memory',
  'anon-inode': 'a kernel object that is not an eventfd',
  other: 'a file or a device',
} as const;

/** Returns the name of a kind, for messages. It never contains the name of a file, which the sender chose. */
export function nameOfKind(kind: ReceivedKind): string {
  return NAMES[kind];
}

/** Returns the kind of a descriptor. It calls no file system and takes no lock. Throws SystemError EBADF. */
export function receivedKind(fd: number): ReceivedKind {
  const flags = check(libc.fcntl(fd, F_GETFL, 0), 'fcntl', `descriptor ${fd} is not open`);
  if ((flags & O_PATH) !== 0) return 'other';
  const domain = socketOption(fd, SO_DOMAIN);
  if (domain !== undefined)
    return domain === AF_UNIX && socketOption(fd, SO_TYPE) === SOCK_STREAM ? 'socket' : 'foreign-socket';
  if (libc.fcntl(fd, F_GET_SEALS, 0) >= 0) return 'memory';
  return kindByName(fd) ?? kindByInode(fd);
}

/**
 * Returns the kind by the name in /proc, which the kernel composes for an object without a path. F_GETPIPE_SZ would
 * identify a pipe as well, but it takes the pipe's lock. `undefined` where /proc is not mounted. proc_pid_fd(5).
 */
function kindByName(fd: number): ReceivedKind | undefined {
  let name: string;
  try {
    name = readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
  if (name === 'anon_inode:[eventfd]') return 'eventfd';
  if (name.startsWith('anon_inode:')) return 'anon-inode';
  return name.startsWith('pipe:[') ? 'pipe' : 'other';
}

/**
 * Returns the kind by the inode. All anonymous inodes are on one device, found with an eventfd made here. The inode
 * does not show which of them are eventfds. All count as eventfds, so that kicks work; reading another kind fails with
 * EINVAL.
 */
function kindByInode(fd: number): ReceivedKind {
  const ours = check(libc.eventfd(0, O_CLOEXEC), 'eventfd');
  const anonymous = inode(ours);
  closeFd(ours);
  const received = inode(fd);
  if (received.device === anonymous.device) return 'eventfd';
  return received.isPipe ? 'pipe' : 'other';
}

function inode(fd: number): { device: bigint; isPipe: boolean } {
  const { view } = callScratch;
  // The mask is 0: for a field that it has not cached FUSE would call its server, in spite of AT_STATX_DONT_SYNC.
  const path = callScratch.cString(256, '');
  // SAFETY: struct statx { …, u16 stx_mode @28, …, u32 stx_dev_major @136, minor @140, … } of 256 bytes in this
  // scratch.
  check(libc.statx(fd, path, AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, callScratch.address), 'statx');
  return { device: view.getBigUint64(136, true), isPipe: (view.getUint16(28, true) & S_IFMT) === S_IFIFO };
}

/**
 * Closes a descriptor that another process sent, of any kind, without blocking this thread. `kind` is its
 * `receivedKind` if that is known. A descriptor that is not open is no error. `eventfd` and `memory` are closed when
 * this returns, the others soon afterwards, by `closeAsynchronously`.
 */
export function closeReceived(fd: number, kind: ReceivedKind | undefined = kindIfOpen(fd)): void {
  if (kind === undefined) return;
  if (kind === 'eventfd' || kind === 'memory') closeFd(fd);
  // close(2) may block: FUSE calls its server (FLUSH), a TCP socket lingers, a pipe takes its lock, and a UNIX socket
  // closes the descriptors in messages that were not received. SO_LINGER does not help: setting it takes a lock too.
  else closeAsynchronously(fd);
}

function kindIfOpen(fd: number): ReceivedKind | undefined {
  try {
    return receivedKind(fd);
  } catch (error) {
    return error instanceof SystemError && error.code === 'EBADF' ? undefined : 'other';
  }
}
