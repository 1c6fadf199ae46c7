// Cellar: signalfd(2): a thread's signals as a descriptor of its epoll set. Signals must be sent to the thread itself (tgkill).
import { O_CLOEXEC, O_NONBLOCK, SIG_BLOCK } from './constants.ts';
import { check, checkOrAgain, closeFd, libc } from './libc.ts';
import { callScratch } from './scratch.ts';

const SIGINFO_BYTES = 128;

export class SignalFd implements Disposable {
  readonly fd: number;

  /** Blocks `signals` in this thread and makes them readable here. */
  constructor(signals: readonly number[]) {
    const mask = signals.reduce((bits, signal) => bits | (1n << BigInt(signal - 1)), 0n);
    callScratch.bytes.fill(0, 0, 128);
    callScratch.view.setBigUint64(0, mask, true);
    // SAFETY: a sigset_t of 128 bytes in this thread's scratch, copied by both calls.
    check(libc.pthread_sigmask(SIG_BLOCK, callScratch.address, 0n), 'pthread_sigmask');
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

/** This thread's id, for `signalThread`. */
export function threadId(): number {
  return libc.gettid();
}

/** Sends a signal to one thread of this process: sent to the process, it could end in a thread that does not block it. */
export function signalThread(thread: number, signal: number): void {
  check(libc.tgkill(process.pid, thread, signal), 'tgkill');
}
