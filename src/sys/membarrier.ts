// Cellar: membarrier(2): a full memory barrier on every thread of this process, paid for by the thread that asks for it.
import { DynamicLibrary } from 'node:ffi';
import { constants as os } from 'node:os';
import { errno } from './libc.ts';

/** libc has no function of that name. The numbers are of asm/unistd_64.h, and of asm-generic/unistd.h. */
const SYS_membarrier = { x64: 324, arm64: 283 }[process.arch as string];
const MEMBARRIER_CMD_PRIVATE_EXPEDITED = 1 << 3;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 1 << 4;

// SAFETY: syscall(2) of the running process; membarrier takes three integers, and touches no memory.
const syscall = new DynamicLibrary(null).getFunction('syscall', {
  return: 'int32',
  arguments: ['int32', 'int32', 'int32', 'int32'],
});

/**
 * When it returns true, each thread of this process has been at a point before which all its stores are visible to this
 * thread, and behind which its loads see what this thread stored before the call. So where one of two threads has to store,
 * then load what the other one stores, and must not miss it, only the one that calls this needs a barrier. Takes some 10 µs,
 * the first call in a process more. False where the kernel does not have it (Linux 4.14 has) or a filter forbids it.
 */
export function barrierOnAllThreads(): boolean {
  if (SYS_membarrier === undefined) return false;
  const call = (command: number): boolean => syscall(SYS_membarrier, command, 0, 0) === 0;
  if (call(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return true;
  // EPERM: the process has to register first.
  if (errno() !== os.errno.EPERM || !call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)) return false;
  return call(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}
