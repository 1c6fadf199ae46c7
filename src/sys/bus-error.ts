// Cellar: SIGBUS, when memory that was mapped is not there any more: a thread that sleeps instead of a dead process.
import { readFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { SIG_BLOCK, SIG_ERR, SIG_UNBLOCK } from './constants.ts';
import { check, libc, systemError } from './libc.ts';
import { callScratch } from './scratch.ts';

const { SIGBUS, SIGSEGV } = os.signals;
const SIGSET_BYTES = 128;

/**
 * Makes the calling thread sleep for ever where it touches memory that its owner truncated. The process lives, and
 * another thread can see it (`isParked`), say why, and end the process with `exitNow`: nothing else wakes or ends the
 * thread.
 *
 * The handler is the whole process's. A thread whose own sleep would go unnoticed, the main thread above all, has to
 * call `dieOnBusError` first; the threads that it starts afterwards inherit this until they call `parkOnBusError`.
 */
export function parkOnBusError(): void {
  // Another signal ends pause and with it the handler: the thread then touches the same memory and sleeps again.
  // SAFETY: pause takes nothing, may be called in a handler (signal-safety(7)), and is never unloaded.
  if (libc.signal(SIGBUS, libc.pause.pointer) === SIG_ERR) throw systemError('signal');
  maskBusError(SIG_UNBLOCK);
}

/**
 * Keeps the default for the calling thread: SIGBUS ends the process. The kernel does so where the signal is blocked.
 */
export function dieOnBusError(): void {
  maskBusError(SIG_BLOCK);
}

/**
 * Whether a thread of this process that called `parkOnBusError` sleeps in its handler: only there is SIGBUS blocked in
 * it, and not every signal, as for a moment in a thread that starts another one. `thread` is its `threadId`. False for
 * a thread that has ended, and where /proc is not mounted. proc_pid_status(5).
 */
export function isParked(thread: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/self/task/${thread}/status`, 'utf8');
  } catch {
    return false;
  }
  const blocked = BigInt(`0x${/^SigBlk:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const isBlocked = (signal: number): boolean => (blocked & (1n << BigInt(signal - 1))) !== 0n;
  return isBlocked(SIGBUS) && !isBlocked(SIGSEGV);
}

function maskBusError(how: number): void {
  callScratch.bytes.fill(0, 0, SIGSET_BYTES);
  callScratch.view.setBigUint64(0, 1n << BigInt(SIGBUS - 1), true);
  // SAFETY: a sigset_t in this thread's scratch, copied by the call.
  check(libc.pthread_sigmask(how, callScratch.address, 0n), 'pthread_sigmask');
}
