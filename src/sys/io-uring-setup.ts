// sys: makes an io_uring(7) and asks the kernel what it can do; the system calls of a ring.
import { DynamicLibrary } from 'node:ffi';
import { constants as os } from 'node:os';
import * as uring from './constants.ts';
import { check, checkOrAgain, closeFd, errno, SystemError } from './libc.ts';
import { Scratch } from './scratch.ts';

// The numbers are the same on every architecture: asm-generic/unistd.h.
const SYS_io_uring_setup = 425;
const SYS_io_uring_enter = 426;
const SYS_io_uring_register = 427;

// SAFETY: syscall(2) of the running process. Where a call takes fewer arguments it ignores the rest.
const syscall = new DynamicLibrary(null).getFunction('syscall', {
  return: 'int32',
  arguments: ['int32', 'int32', 'int32', 'int32', 'int32', 'pointer'],
});
/** io_uring_register(2) and io_uring_setup(2) take an address earlier. */
// SAFETY: as above; the library is opened again because a library has one signature for a symbol.
const syscallWithAddress = new DynamicLibrary(null).getFunction('syscall', {
  return: 'int32',
  arguments: ['int32', 'int32', 'pointer', 'pointer', 'int32'],
});

/** From the best set of flags to none: an older kernel answers EINVAL to a flag that it does not know. */
const SETUP_FLAGS = [
  uring.IORING_SETUP_COOP_TASKRUN | uring.IORING_SETUP_TASKRUN_FLAG | uring.IORING_SETUP_SINGLE_ISSUER,
  uring.IORING_SETUP_COOP_TASKRUN | uring.IORING_SETUP_TASKRUN_FLAG,
  0,
];

/** The operations that `IoUring` uses. All exist since Linux 5.6. */
const OPERATIONS = [
  uring.IORING_OP_READ,
  uring.IORING_OP_WRITE,
  uring.IORING_OP_READV,
  uring.IORING_OP_WRITEV,
  uring.IORING_OP_FSYNC,
  uring.IORING_OP_FALLOCATE,
  uring.IORING_OP_ASYNC_CANCEL,
];

// struct io_uring_params: flags @8, struct io_sqring_offsets @40, struct io_cqring_offsets @80.
const PARAMS = { bytes: 120, sqEntries: 0, cqEntries: 4, flags: 8 } as const;
const SQ_OFF = { head: 40, tail: 44, flags: 56, array: 64 } as const;
const CQ_OFF = { head: 80, tail: 84, cqes: 100 } as const;
const PROBE = { bytes: 16 + 256 * 8, ops: 16, opBytes: 8, opFlags: 2 } as const;

/** A new ring: its descriptor, its sizes, and where in its mapping each word is, as the index of a 32-bit word. */
export interface RingLayout {
  readonly fd: number;
  readonly sqEntries: number;
  readonly cqEntries: number;
  readonly sqHead: number;
  readonly sqTail: number;
  readonly sqFlags: number;
  readonly sqArray: number;
  readonly cqHead: number;
  readonly cqTail: number;
  readonly cqes: number;
}

/** io_uring_setup(2), with the best flags that the kernel knows. Throws SystemError. */
export function setUpRing(entries: number): RingLayout {
  using params = new Scratch(PARAMS.bytes);
  let fd = -1;
  for (const setupFlags of SETUP_FLAGS) {
    params.bytes.fill(0);
    params.view.setUint32(PARAMS.flags, setupFlags, true);
    // SAFETY: struct io_uring_params in `params`, which lives until the call has returned.
    fd = syscallWithAddress(SYS_io_uring_setup, entries, params.address, 0n, 0);
    if (fd >= 0 || errno() !== os.errno.EINVAL) break;
  }
  check(fd, 'io_uring_setup', setupAdvice());
  try {
    checkOperations(fd);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  const number = (at: number): number => params.view.getUint32(at, true);
  return {
    fd,
    sqEntries: number(PARAMS.sqEntries),
    cqEntries: number(PARAMS.cqEntries),
    sqHead: number(SQ_OFF.head) / 4,
    sqTail: number(SQ_OFF.tail) / 4,
    sqFlags: number(SQ_OFF.flags) / 4,
    sqArray: number(SQ_OFF.array) / 4,
    cqHead: number(CQ_OFF.head) / 4,
    cqTail: number(CQ_OFF.tail) / 4,
    cqes: number(CQ_OFF.cqes) / 4,
  };
}

/**
 * io_uring_enter(2): submits `staged` operations, and waits for `waitFor` completions. Returns the number of operations
 * that the kernel took; undefined where the call has to be repeated. Throws SystemError.
 */
export function enterRing(fd: number, staged: number, waitFor: number, flags: number): number | undefined {
  // SAFETY: the call has no address argument. The requests keep alive what the operations point to.
  return checkOrAgain(syscall(SYS_io_uring_enter, fd, staged, waitFor, flags, 0n), 'io_uring_enter');
}

/** Makes `fd` the registered file 0 of a ring. Returns false where the kernel cannot do it. */
export function registerFile(ringFd: number, fd: number): boolean {
  using scratch = new Scratch(4);
  scratch.view.setInt32(0, fd, true);
  // SAFETY: one int in `scratch`, which the kernel copies.
  return (
    syscallWithAddress(SYS_io_uring_register, ringFd, BigInt(uring.IORING_REGISTER_FILES), scratch.address, 1) === 0
  );
}

export function unregisterFiles(ringFd: number): void {
  // SAFETY: the call has no address argument.
  syscallWithAddress(SYS_io_uring_register, ringFd, BigInt(uring.IORING_UNREGISTER_FILES), 0n, 0);
}

function setupAdvice(): string {
  switch (errno()) {
    case os.errno.EPERM:
    case os.errno.EACCES:
      return 'io_uring is forbidden here: sysctl kernel.io_uring_disabled, or a seccomp filter such as a container has';
    case os.errno.ENOSYS:
      return 'this kernel has no io_uring';
    case os.errno.ENOMEM:
      return 'no memory for the rings: raise ulimit -l';
    default:
      return 'no ring could be made';
  }
}

/** Asks the kernel for the operations, whatever its version is. Throws SystemError EOPNOTSUPP. */
function checkOperations(fd: number): void {
  using probe = new Scratch(PROBE.bytes);
  // SAFETY: struct io_uring_probe with 256 entries in `probe`, which lives until the call has returned.
  const result = syscallWithAddress(SYS_io_uring_register, fd, BigInt(uring.IORING_REGISTER_PROBE), probe.address, 256);
  check(result, 'io_uring_register', 'io_uring of this kernel is too old: Linux 5.6 is needed');
  for (const operation of OPERATIONS) {
    const flags = probe.view.getUint16(PROBE.ops + operation * PROBE.opBytes + PROBE.opFlags, true);
    if ((flags & uring.IO_URING_OP_SUPPORTED) === 0)
      throw new SystemError('io_uring_register', 'EOPNOTSUPP', `io_uring here lacks operation ${operation}`);
  }
}
