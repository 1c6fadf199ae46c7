// Cellar: eventfd(2), the doorbell: a 64-bit counter that one side adds to and the other reads to zero.
import { checkedNotifier } from './checked-notifier.ts';
import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { check, checkOrAgain, clearErrno, closeFd, errno, libc, SystemError } from './libc.ts';
import { callScratch } from './scratch.ts';

export class EventFd implements Disposable {
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** A new one: non-blocking, closed on exec, count 0. */
  static create(): EventFd {
    return new EventFd(check(libc.eventfd(0, O_CLOEXEC | O_NONBLOCK), 'eventfd', 'try ulimit -n 65536'));
  }

  /** Uses a descriptor that stays somebody else's: never dispose it. */
  static borrow(fd: number): EventFd {
    return new EventFd(fd);
  }

  /** Takes over a descriptor somebody sent. Throws SystemError EBADF, or EINVAL where it cannot be one end of a doorbell. */
  static adopt(fd: number): EventFd {
    return new EventFd(checkedNotifier(fd));
  }

  /** Adds one. A full counter (or pipe) has its reader awake already, so EAGAIN is success; a vanished reader is nobody's loss. */
  signal(): void {
    libc.eventfd_write(this.fd, 1);
  }

  /** Reads the count to zero. False when it was zero. Throws SystemError when the other side sent something unreadable. */
  clear(): boolean {
    clearErrno();
    // SAFETY: 8 bytes of this thread's scratch, consumed before the next call.
    const result = libc.eventfd_read(this.fd, callScratch.address);
    // The end of a pipe is no error to read(2), and readable for ever.
    if (result < 0 && errno() === 0) throw new SystemError('eventfd_read', 'EPIPE', 'the other end is gone');
    return checkOrAgain(result, 'eventfd_read') !== undefined;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}
