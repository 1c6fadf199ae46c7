// sys: the one table of C functions Belfry calls; -1 becomes a SystemError with the name of the call and advice.

import { DynamicLibrary, dlopen, toArrayBuffer } from 'node:ffi';
import { constants as os } from 'node:os';
import { F_DUPFD_CLOEXEC } from './constants.ts';

// The types of arguments. A 64-bit parameter whose value always fits is declared with 32 bits: that costs no bigint.
const i32 = 'int32';
const u32 = 'uint32';
const i64 = 'int64';
const u64 = 'uint64';
const ptr = 'pointer';

// SAFETY: these symbols of the running process are never unloaded; each signature is that of the man page of its name.
export const { functions: libc } = dlopen(null, {
  accept4: { return: i32, arguments: [i32, ptr, ptr, i32] },
  alarm: { return: u32, arguments: [u32] },
  bind: { return: i32, arguments: [i32, ptr, u32] },
  close: { return: i32, arguments: [i32] },
  cfmakeraw: { return: 'void', arguments: [ptr] },
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
  getpeername: { return: i32, arguments: [i32, ptr, ptr] },
  getrusage: { return: i32, arguments: [i32, ptr] },
  getsockname: { return: i32, arguments: [i32, ptr, ptr] },
  getsockopt: { return: i32, arguments: [i32, i32, i32, ptr, ptr] },
  gettid: { return: i32, arguments: [] },
  if_nametoindex: { return: u32, arguments: [ptr] },
  inotify_add_watch: { return: i32, arguments: [i32, ptr, u32] },
  inotify_init1: { return: i32, arguments: [i32] },
  ioctl: { return: i32, arguments: [i32, u64, ptr] },
  listen: { return: i32, arguments: [i32, i32] },
  lseek: { return: i64, arguments: [i32, i64, i32] },
  madvise: { return: i32, arguments: [ptr, u64, i32] },
  memfd_create: { return: i32, arguments: [ptr, u32] },
  mmap: { return: ptr, arguments: [ptr, u64, i32, i32, i32, i64] },
  mprotect: { return: i32, arguments: [ptr, u64, i32] },
  munmap: { return: i32, arguments: [ptr, u64] },
  open: { return: i32, arguments: [ptr, i32, u32] },
  pause: { return: i32, arguments: [] },
  poll: { return: i32, arguments: [ptr, u64, i32] },
  pread: { return: i32, arguments: [i32, 'buffer', u64, i64] },
  preadv: { return: i32, arguments: [i32, ptr, i32, i64] },
  pthread_create: { return: i32, arguments: [ptr, ptr, ptr, u64] },
  pthread_sigmask: { return: i32, arguments: [i32, ptr, ptr] },
  pthread_tryjoin_np: { return: i32, arguments: [u64, ptr] },
  pwrite: { return: i32, arguments: [i32, 'buffer', u64, i64] },
  pwritev: { return: i32, arguments: [i32, ptr, i32, i64] },
  read: { return: i32, arguments: [i32, ptr, u64] },
  recv: { return: i32, arguments: [i32, ptr, u64, i32] },
  recvmsg: { return: i32, arguments: [i32, ptr, i32] },
  sched_setaffinity: { return: i32, arguments: [i32, u64, ptr] },
  sendmsg: { return: i32, arguments: [i32, ptr, i32] },
  setsockopt: { return: i32, arguments: [i32, i32, i32, ptr, u32] },
  shutdown: { return: i32, arguments: [i32, i32] },
  signal: { return: ptr, arguments: [i32, ptr] },
  sigwaitinfo: { return: i32, arguments: [ptr, ptr] },
  socket: { return: i32, arguments: [i32, i32, i32] },
  socketpair: { return: i32, arguments: [i32, i32, i32, ptr] },
  statx: { return: i32, arguments: [i32, ptr, i32, u32, ptr] },
  tcgetattr: { return: i32, arguments: [i32, ptr] },
  tcsetattr: { return: i32, arguments: [i32, i32, ptr] },
  tgkill: { return: i32, arguments: [i32, i32, i32] },
  timerfd_create: { return: i32, arguments: [i32, i32] },
  timerfd_settime: { return: i32, arguments: [i32, i32, ptr, ptr] },
  write: { return: i32, arguments: [i32, ptr, u64] },
  writev: { return: i32, arguments: [i32, ptr, i32] },
  __errno_location: { return: ptr, arguments: [] },
  _exit: { return: 'void', arguments: [i32] },
});

// node:ffi checks arguments in a JavaScript wrapper. A loop with two such calls exceeds V8's default inlining budget,
// and a call that is not inlined costs half a microsecond more. The flag is set once and holds for all threads.
if (libc.gettid() === process.pid)
  process.getBuiltinModule('node:v8').setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000');

/** ioctl(2) with a number instead of an address. Without bigints it is half a microsecond cheaper, for KVM_RUN. */
// SAFETY: as above; the library is opened again because a library has one signature for a symbol.
export const ioctlByValue = new DynamicLibrary(null).getFunction('ioctl', { return: i32, arguments: [i32, u32, u32] });

// SAFETY: errno belongs to the thread and lives as long as it; each thread evaluates this module for itself.
const errnoWord = new Int32Array(toArrayBuffer(libc.__errno_location(), 4, false));

const errnoNames = new Map(Object.entries(os.errno).map(([name, number]) => [number, name]));
errnoNames.set(os.errno.EAGAIN, 'EAGAIN'); // EWOULDBLOCK has the same number

/** What to do about an error, whatever the call. */
const ADVICE: { readonly [errnoName: string]: string } = {
  EMFILE: 'raise the limit of open files (ulimit -n)',
  ENFILE: 'the whole system has no more open files (fs.file-max)',
};

/** A system call failed. `code` is the name of the errno, as in Node's own errors; `syscall` is the call. */
export class SystemError extends Error {
  /** The name of the errno: `ENOENT`, `EADDRINUSE`, … */
  readonly code: string;
  /** The system call, or the KVM ioctl, that failed. */
  readonly syscall: string;

  constructor(syscall: string, errnoName: string, advice = ADVICE[errnoName]) {
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

/** Sets errno to 0, before a call that can fail without setting it. */
export function clearErrno(): void {
  errnoWord[0] = 0;
}

/** Returns the error for this thread's last failed call. */
export function systemError(syscall: string, advice?: string): SystemError {
  return errnoError(syscall, errno(), advice);
}

/** Returns the error for an errno, such as the one in a completion of io_uring(7). */
export function errnoError(syscall: string, number: number, advice?: string): SystemError {
  return new SystemError(syscall, errnoNames.get(number) ?? `errno ${number}`, advice);
}

/** Returns `result`, or throws the SystemError of errno if it is negative. */
export function check(result: number, syscall: string, advice?: string): number {
  if (result < 0) throw systemError(syscall, advice);
  return result;
}

/** As `check`, but returns `undefined` where the call has to be repeated: EAGAIN, EINTR. */
export function checkOrAgain(result: number, syscall: string, advice?: string): number | undefined {
  if (result >= 0) return result;
  const number = errno();
  if (number === os.errno.EAGAIN || number === os.errno.EINTR) return undefined;
  throw systemError(syscall, advice);
}

/** Returns another descriptor of the same open file, closed on exec. Throws SystemError: EBADF, EMFILE. */
export function duplicateFd(fd: number): number {
  return check(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0), 'fcntl', `descriptor ${fd}`);
}

/**
 * Closes a descriptor that this process opened. close(2) must not be retried, and no caller can act on its error.
 * It may block for a descriptor that another process sent: use `closeReceived` for that.
 */
export function closeFd(fd: number): void {
  libc.close(fd);
}
