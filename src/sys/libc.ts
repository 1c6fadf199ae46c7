// Cellar: the one table of C functions Belfry calls; -1 becomes a SystemError that names the call and advises.

import { DynamicLibrary, dlopen, toArrayBuffer } from 'node:ffi';
import { constants as os } from 'node:os';
import { F_DUPFD_CLOEXEC } from './constants.ts';

/** A fixed-width register argument. 32-bit declarations of 64-bit parameters are used where the value always fits: they cost no bigint. */
const i32 = 'int32';
const u32 = 'uint32';
const i64 = 'int64';
const u64 = 'uint64';
const ptr = 'pointer';

// SAFETY: these are symbols of the running process, which outlive it; each signature is that of the man page it is named after.
export const { functions: libc } = dlopen(null, {
  accept4: { return: i32, arguments: [i32, ptr, ptr, i32] },
  bind: { return: i32, arguments: [i32, ptr, u32] },
  close: { return: i32, arguments: [i32] },
  clock_gettime: { return: i32, arguments: [i32, ptr] },
  connect: { return: i32, arguments: [i32, ptr, u32] },
  epoll_create1: { return: i32, arguments: [i32] },
  epoll_ctl: { return: i32, arguments: [i32, i32, i32, ptr] },
  epoll_wait: { return: i32, arguments: [i32, ptr, i32, i32] },
  eventfd: { return: i32, arguments: [u32, i32] },
  eventfd_read: { return: i32, arguments: [i32, ptr] },
  eventfd_write: { return: i32, arguments: [i32, u32] },
  fallocate: { return: i32, arguments: [i32, i32, i64, i64] },
  fcntl: { return: i32, arguments: [i32, i32, i32] },
  fdatasync: { return: i32, arguments: [i32] },
  fstatfs: { return: i32, arguments: [i32, ptr] },
  ftruncate: { return: i32, arguments: [i32, i64] },
  getrusage: { return: i32, arguments: [i32, ptr] },
  getsockopt: { return: i32, arguments: [i32, i32, i32, ptr, ptr] },
  gettid: { return: i32, arguments: [] },
  ioctl: { return: i32, arguments: [i32, u64, ptr] },
  listen: { return: i32, arguments: [i32, i32] },
  lseek: { return: i64, arguments: [i32, i64, i32] },
  madvise: { return: i32, arguments: [ptr, u64, i32] },
  memfd_create: { return: i32, arguments: [ptr, u32] },
  mmap: { return: ptr, arguments: [ptr, u64, i32, i32, i32, i64] },
  mprotect: { return: i32, arguments: [ptr, u64, i32] },
  munmap: { return: i32, arguments: [ptr, u64] },
  open: { return: i32, arguments: [ptr, i32, u32] },
  pread: { return: i32, arguments: [i32, 'buffer', u64, i64] },
  preadv: { return: i32, arguments: [i32, ptr, i32, i64] },
  pthread_sigmask: { return: i32, arguments: [i32, ptr, ptr] },
  pwrite: { return: i32, arguments: [i32, 'buffer', u64, i64] },
  pwritev: { return: i32, arguments: [i32, ptr, i32, i64] },
  read: { return: i32, arguments: [i32, ptr, u64] },
  recvmsg: { return: i32, arguments: [i32, ptr, i32] },
  sched_setaffinity: { return: i32, arguments: [i32, u64, ptr] },
  sendmsg: { return: i32, arguments: [i32, ptr, i32] },
  signal: { return: ptr, arguments: [i32, ptr] },
  sigwaitinfo: { return: i32, arguments: [ptr, ptr] },
  socket: { return: i32, arguments: [i32, i32, i32] },
  socketpair: { return: i32, arguments: [i32, i32, i32, ptr] },
  tgkill: { return: i32, arguments: [i32, i32, i32] },
  timerfd_create: { return: i32, arguments: [i32, i32] },
  timerfd_settime: { return: i32, arguments: [i32, i32, ptr, ptr] },
  write: { return: i32, arguments: [i32, ptr, u64] },
  __errno_location: { return: ptr, arguments: [] },
  _exit: { return: 'void', arguments: [i32] },
});

// Node checks the arguments of a C function in JavaScript, a function for each. A loop that makes two such calls is more than V8 inlines
// by default, and what it does not inline goes through a generic call of C: half a microsecond each. A flag holds for all threads.
if (libc.gettid() === process.pid)
  process.getBuiltinModule('node:v8').setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000');

/** ioctl(2) with a number in place of an address: half a microsecond cheaper without bigints, which counts in KVM_RUN. */
// SAFETY: as above; a library has one signature for a symbol, so this is the same one opened once more.
export const ioctlByValue = new DynamicLibrary(null).getFunction('ioctl', { return: i32, arguments: [i32, u32, u32] });

// SAFETY: errno is a per-thread static that lives as long as its thread; each thread evaluates this module for itself.
const errnoWord = new Int32Array(toArrayBuffer(libc.__errno_location(), 4, false));

const errnoNames = new Map(Object.entries(os.errno).map(([name, number]) => [number, name]));
errnoNames.set(os.errno.EAGAIN, 'EAGAIN'); // and not EWOULDBLOCK, which is the same number

/** Linux said no. `code` is the errno name, as Node's own errors have it; `syscall` the call. */
export class SystemError extends Error {
  readonly code: string;
  readonly syscall: string;

  constructor(syscall: string, errnoName: string, advice?: string) {
    super(`${syscall}: ${errnoName}${advice === undefined ? '' : `: ${advice}`}`);
    this.name = 'SystemError';
    this.code = errnoName;
    this.syscall = syscall;
  }
}

/** The errno of this thread's last failed call. */
export function errno(): number {
  return errnoWord[0] as number;
}

/** For calls that can fail without setting it. */
export function clearErrno(): void {
  errnoWord[0] = 0;
}

/** The error for this thread's last failed call. */
export function systemError(syscall: string, advice?: string): SystemError {
  return new SystemError(syscall, errnoNames.get(errno()) ?? `errno ${errno()}`, advice);
}

/** Passes a result through, or throws what errno says. */
export function check(result: number, syscall: string, advice?: string): number {
  if (result < 0) throw systemError(syscall, advice);
  return result;
}

/** As `check`, for calls that may have to be tried again (EAGAIN, EINTR): those give `undefined`. */
export function checkOrAgain(result: number, syscall: string, advice?: string): number | undefined {
  if (result >= 0) return result;
  const number = errno();
  if (number === os.errno.EAGAIN || number === os.errno.EINTR) return undefined;
  throw systemError(syscall, advice);
}

/** Another descriptor of the same open file, closed on exec. Throws SystemError: EBADF, EMFILE. */
export function duplicateFd(fd: number): number {
  return check(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0), 'fcntl', `descriptor ${fd}`);
}

/** Closes a descriptor. close(2) must not be retried, and its error says nothing the caller can act on. */
export function closeFd(fd: number): void {
  libc.close(fd);
}
