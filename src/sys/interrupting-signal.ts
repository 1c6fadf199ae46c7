// Cellar: a signal that does nothing but end the system call its thread is in, with EINTR. signal(2), tgkill(2).
import { libc, systemError } from './libc.ts';

const SIG_ERR = 0xffff_ffff_ffff_ffffn;

/**
 * Gives `signal` a handler that does nothing, in every thread of this process: ignored signals interrupt nothing, and the default is
 * death. Calls that can be restarted are; KVM_RUN cannot. JavaScript cannot run in a handler, so a harmless C function has to.
 */
export function makeInterrupting(signal: number): void {
  // SAFETY: gettid takes no argument, touches no memory, may be called in any handler (signal-safety(7)), and outlives the process.
  if (libc.signal(signal, libc.gettid.pointer) === SIG_ERR)
    throw systemError('signal', `signal ${signal} does not exist`);
}
