// sys: signals between the threads of this process. tgkill(2), pthread_sigmask(3).
import { SIG_BLOCK } from './constants.ts';
import { check, libc } from './libc.ts';
import type { Scratch } from './scratch.ts';

const SIGSET_BYTES = 128;

/** Blocks `signals` in this thread. Leaves their sigset_t of 128 bytes at the start of `set`. */
export function blockSignals(signals: readonly number[], set: Scratch): void {
  const mask = signals.reduce((bits, signal) => bits | (1n << BigInt(signal - 1)), 0n);
  set.bytes.fill(0, 0, SIGSET_BYTES);
  set.view.setBigUint64(0, mask, true);
  // SAFETY: the set is off-heap and owned by the caller; the call copies it.
  check(libc.pthread_sigmask(SIG_BLOCK, set.address, 0n), 'pthread_sigmask');
}

/** This thread's id, for `signalThread`. */
export function threadId(): number {
  return libc.gettid();
}

/** Sends a signal to one thread of this process. Sent to the process, it could be delivered to any thread. */
export function signalThread(thread: number, signal: number): void {
  check(libc.tgkill(process.pid, thread, signal), 'tgkill');
}
