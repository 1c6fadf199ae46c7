// Cellar: signals between the threads of this process. tgkill(2), pthread_sigmask(3). Those for the process: process-signals.ts.
import { SIG_BLOCK } from './constants.ts';
import { check, libc } from './libc.ts';
import type { Scratch } from './scratch.ts';

const SIGSET_BYTES = 128;

/** Keeps `signals` from this thread's handlers, and leaves their sigset_t of 128 bytes at the start of `set`. */
export function blockSignals(signals: readonly number[], set: Scratch): void {
  const mask = signals.reduce((bits, signal) => bits | (1n << BigInt(signal - 1)), 0n);
  set.bytes.fill(0, 0, SIGSET_BYTES);
  set.view.setBigUint64(0, mask, true);
  // SAFETY: the set is off the heap and the caller's; the call copies it.
  check(libc.pthread_sigmask(SIG_BLOCK, set.address, 0n), 'pthread_sigmask');
}

/** This thread's id, for `signalThread`. */
export function threadId(): number {
  return libc.gettid();
}

/** Sends a signal to one thread of this process: sent to the process, it could end in a thread that does not block it. */
export function signalThread(thread: number, signal: number): void {
  check(libc.tgkill(process.pid, thread, signal), 'tgkill');
}
