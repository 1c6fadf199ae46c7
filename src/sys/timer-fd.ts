// sys: timerfd_create(2): a timer as a descriptor for an epoll set.
import { CLOCK_MONOTONIC, O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { check, checkOrAgain, closeFd, libc } from './libc.ts';
import { callScratch } from './scratch.ts';

/** A timer on CLOCK_MONOTONIC. `fd` is readable once it has expired, until `expirations` is called. */
export class TimerFd implements Disposable {
  readonly fd = check(libc.timerfd_create(CLOCK_MONOTONIC, O_CLOEXEC | O_NONBLOCK), 'timerfd_create');

  /** Expires after `delayMs`, then every `intervalMs` if that is not 0. A delay of 0 disarms. */
  set(delayMs: number, intervalMs = 0): void {
    const { view } = callScratch;
    [intervalMs, delayMs].forEach((ms, i) => {
      const ns = BigInt(Math.round(ms * 1e6));
      view.setBigInt64(16 * i, ns / 1_000_000_000n, true);
      view.setBigInt64(16 * i + 8, ns % 1_000_000_000n, true);
    });
    // SAFETY: struct itimerspec { interval, value } in this thread's scratch, copied by the call.
    check(libc.timerfd_settime(this.fd, 0, callScratch.address, 0n), 'timerfd_settime');
  }

  /** Returns how often it expired since the last call. */
  expirations(): number {
    // SAFETY: 8 bytes of this thread's scratch.
    const bytes = checkOrAgain(libc.read(this.fd, callScratch.address, 8n), 'read');
    return bytes === undefined ? 0 : Number(callScratch.view.getBigUint64(0, true));
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}
