// Cellar: signalfd(2): a thread's signals as a descriptor of its epoll set. Signals must be sent to the thread itself (tgkill).
import { O_CLOEXEC, O_NONBLOCK, SIG_BLOCK } from './constants.ts';
import { check, checkOrAgain, closeFd, libc } from './libc.ts';
import { callScratch, type Scratch } from './scratch.ts';

const SIGINFO_BYTES = 128;
const SIGSET_BYTES = 128;

export class SignalFd implements Disposable {
  readonly fd: number;

  /** Blocks `signals` in this thread and makes them readable here. */
  constructor(signals: readonly number[]) {
    blockSignals(signals, callScratch);
    // SAFETY: the sigset_t lies in this thread's scratch, and the call copies it.
    this.fd = check(libc.signalfd(-1, callScratch.address, O_CLOEXEC | O_NONBLOCK), 'signalfd');
  }

  /** The next signal's number, or undefined. */
  read(): number | undefined {
    // SAFETY: one struct signalfd_siginfo in this thread's scratch; its first word is ssi_signo.
    const bytes = checkOrAgain(libc.read(this.fd, callScratch.address, BigInt(SIGINFO_BYTES)), 'read');
    return bytes === undefined ? undefined : callScratch.view.getUint32(0, true);
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}

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
