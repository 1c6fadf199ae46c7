// sys: SIGBUS, raised by an access to a truncated mapping: parks the thread instead of ending the process.
import { readFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { SIG_BLOCK, SIG_ERR, SIG_UNBLOCK } from './constants.ts';
import { check, libc, systemError } from './libc.ts';
import { callScratch } from './scratch.ts';

const { SIGBUS, SIGSEGV } = os.signals;
const SIGSET_BYTES = 128;

/**
 * Makes the calling thread sleep for ever where it touches mapped memory whose file was truncated. The process goes on:
 * another thread can detect this (`isParked`), log it, and end the process with `exitNow`. Nothing else wakes or ends
 * the thread.
 *
 * The handler is installed for the whole process. A thread that no other thread watches, the main thread above all, has
 * to call `dieOnBusError` first. The threads that it starts afterwards inherit that until they call `parkOnBusError`.
 */
export function parkOnBusError(): void {
  // Another signal ends pause and with it the handler: the thread then touches the same memory and sleeps again.
  // SAFETY: pause takes nothing, may be called in a handler (signal-safety(7)), and is never unloaded.
  if (libc.signal(SIGBUS, libc.pause.pointer) === SIG_ERR) throw systemError('signal');
  maskBusError(SIG_UNBLOCK);
}

/**
 * Keeps the default for the calling thread: SIGBUS ends the process. It blocks the signal, and the kernel ends a
 * process whose thread raises a blocked SIGBUS.
 */
export function dieOnBusError(): void {
  maskBusError(SIG_BLOCK);
}

/**
 * Whether a thread of this process that called `parkOnBusError` sleeps in its handler. Such a thread has SIGBUS blocked
 * only there. A thread that is starting another one has all signals blocked for a moment, so SIGSEGV is checked too.
 * `thread` is its `threadId`. False for a thread that has exited, and where /proc is not mounted. proc_pid_status(5).
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
