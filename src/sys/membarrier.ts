// sys: membarrier(2): a full memory barrier on every thread of this process; only the calling thread pays for it.
import { DynamicLibrary } from 'node:ffi';
import { constants as os } from 'node:os';
import { errno } from './libc.ts';

/** libc has no wrapper for it. The numbers are from asm/unistd_64.h and asm-generic/unistd.h. */
const SYS_membarrier = { x64: 324, arm64: 283 }[process.arch as string];
const MEMBARRIER_CMD_PRIVATE_EXPEDITED = 1 << 3;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 1 << 4;

// SAFETY: syscall(2) of the running process; membarrier takes three integers, and touches no memory.
const syscall = new DynamicLibrary(null).getFunction('syscall', {
  return: 'int32',
  arguments: ['int32', 'int32', 'int32', 'int32'],
});

/**
 * When it returns true, each thread of this process has executed a full barrier during the call: this thread sees all
 * stores that the other thread made before that barrier, and the other thread's later loads see what this thread stored
 * before the call. Where two threads each store and then load what the other one stores, only the thread that calls
 * this needs a barrier. Takes some 10 µs, the first call in a process more. Returns false where the kernel does not
 * have it (before Linux 4.14) or a seccomp filter forbids it.
 */
export function barrierOnAllThreads(): boolean {
  if (SYS_membarrier === undefined) return false;
  const call = (command: number): boolean => syscall(SYS_membarrier, command, 0, 0) === 0;
  if (call(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return true;
  // EPERM: the process has to register first.
  if (errno() !== os.errno.EPERM || !call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)) return false;
  return call(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}
