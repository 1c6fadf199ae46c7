// Cellar: eventfd(2), the doorbell: a 64-bit counter that one side adds to and the other reads to zero.
import { readlinkSync } from 'node:fs';
import { F_GETFL, F_SETFL, O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { check, checkOrAgain, closeFd, libc, SystemError } from './libc.ts';
import { callScratch } from './scratch.ts';

export class EventFd implements Disposable {
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** A new one: non-blocking, closed on exec, count 0. */
  static create(): EventFd {
    return new EventFd(
      check(libc.eventfd(0, O_CLOEXEC | O_NONBLOCK), 'eventfd', 'raise the limit of open files (ulimit -n)'),
    );
  }

  /** Uses a descriptor that stays somebody else's: never dispose it. */
  static borrow(fd: number): EventFd {
    return new EventFd(fd);
  }

  /** Takes over a descriptor somebody sent. Others send a pipe or, User-Mode Linux, a socket pair. Throws SystemError EBADF or EINVAL. */
  static adopt(fd: number): EventFd {
    const kind = describeFd(fd);
    if (!/^(anon_inode:\[eventfd\]|pipe:|socket:)/.test(kind))
      throw new SystemError('eventfd', 'EINVAL', `the descriptor is ${kind}`);
    // A full pipe or a counter at its maximum must not block the device thread.
    check(libc.fcntl(fd, F_SETFL, check(libc.fcntl(fd, F_GETFL, 0), 'fcntl') | O_NONBLOCK), 'fcntl');
    return new EventFd(fd);
  }

  /** Adds one. A full counter (or pipe) has its reader awake already, so EAGAIN is success; a vanished reader is nobody's loss. */
  signal(): void {
    libc.eventfd_write(this.fd, 1);
  }

  /** Reads the count to zero. False when it was zero. Throws SystemError when the other side sent something unreadable. */
  clear(): boolean {
    // SAFETY: 8 bytes of this thread's scratch, consumed before the next call.
    return checkOrAgain(libc.eventfd_read(this.fd, callScratch.address), 'eventfd_read') !== undefined;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}

/** What /proc calls a descriptor: `anon_inode:[eventfd]`, `pipe:[7]`, a path. Throws SystemError EBADF when it is not open. */
export function describeFd(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    throw new SystemError('readlink', 'EBADF', `descriptor ${fd} is not open`);
  }
}
