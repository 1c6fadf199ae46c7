// sys: a signal that does nothing but interrupt the system call its thread is in (EINTR). signal(2), tgkill(2).
import { SIG_ERR } from './constants.ts';
import { libc, systemError } from './libc.ts';

/**
 * Gives `signal` a handler that does nothing, for every thread of this process: an ignored signal interrupts no call,
 * and the default ends the process. Calls that the kernel can restart are restarted; KVM_RUN is not. The handler is a C
 * function, since JavaScript cannot run in one.
 */
export function makeInterrupting(signal: number): void {
  // SAFETY: gettid takes nothing, touches no memory, may be called in a handler (signal-safety(7)), and is never
  // unloaded.
  if (libc.signal(signal, libc.gettid.pointer) === SIG_ERR)
    throw systemError('signal', `signal ${signal} does not exist`);
}
