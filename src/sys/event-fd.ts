// sys: eventfd(2), a 64-bit counter: one side adds to it to notify, the other side reads it back to zero.
import { F_GETFL, F_SETFL, O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { check, checkOrAgain, clearErrno, errno, libc, SystemError } from './libc.ts';
import { closeReceived, nameOfKind, type ReceivedKind, receivedKind } from './received-fd.ts';
import { callScratch } from './scratch.ts';

/**
 * An eventfd(2), a 64-bit counter: one side adds to it to notify, the other side reads it back to zero. Its creator
 * disposes it.
 *
 * @example
 * using kick = EventFd.create();
 * kick.signal();
 * kick.clear(); // true: it was signalled
 */
export class EventFd implements Disposable {
  /** The number of the descriptor. */
  readonly fd: number;
  readonly #kind: ReceivedKind;

  private constructor(fd: number, kind: ReceivedKind = 'eventfd') {
    this.fd = fd;
    this.#kind = kind;
  }

  /** Creates one: non-blocking, closed on exec, count 0. Throws SystemError EMFILE. */
  static create(): EventFd {
    return new EventFd(check(libc.eventfd(0, O_CLOEXEC | O_NONBLOCK), 'eventfd', 'try ulimit -n 65536'));
  }

  /** Wraps a descriptor that the caller keeps. Never dispose the result. */
  static borrow(fd: number): EventFd {
    return new EventFd(fd);
  }

  /**
   * Takes over a descriptor that was received. Some front ends send a pipe or, User-Mode Linux, an end of a socket
   * pair. A hostile front end can block the thread that reads a socket, or that reads or writes a pipe (see
   * `ReceivedKind`): pass `['eventfd']` for a kick, which is read, and `['eventfd', 'socket']` for a call, which is
   * written. Throws SystemError EBADF, or EINVAL for a kind that is not in `accepted`. If it throws, the descriptor
   * stays the caller's.
   */
  static adopt(fd: number, accepted: readonly ReceivedKind[] = ['eventfd', 'socket', 'pipe']): EventFd {
    const kind = receivedKind(fd);
    if (!accepted.includes(kind))
      throw new SystemError('eventfd', 'EINVAL', `the descriptor is ${nameOfKind(kind)}: send an eventfd`);
    // A full pipe, or a counter at its maximum, must not block the device thread.
    check(libc.fcntl(fd, F_SETFL, check(libc.fcntl(fd, F_GETFL, 0), 'fcntl') | O_NONBLOCK), 'fcntl');
    return new EventFd(fd, kind);
  }

  /** Adds 1. Ignores EAGAIN, since a full counter or pipe is readable already, and EPIPE, since it has no reader. */
  signal(): void {
    libc.eventfd_write(this.fd, 1);
  }

  /**
   * Reads the counter back to zero. Returns whether it was greater. Throws SystemError: EPIPE at the end of a pipe or
   * socket.
   */
  clear(): boolean {
    clearErrno();
    // SAFETY: 8 bytes of this thread's scratch, not used after the call.
    const result = libc.eventfd_read(this.fd, callScratch.address);
    // eventfd_read(3) fails without an errno when it reads fewer than 8 bytes.
    if (result < 0 && errno() === 0) return this.#clearPart();
    return checkOrAgain(result, 'eventfd_read') !== undefined;
  }

  /** A pipe or socket had 1 to 7 bytes, which count as a signal, or none because its other end is closed. */
  #clearPart(): boolean {
    // SAFETY: as in clear. At the end read(2) returns 0 every time, so a descriptor there would stay readable for ever.
    if (libc.read(this.fd, callScratch.address, 8n) === 0)
      throw new SystemError('eventfd_read', 'EPIPE', 'the other end is gone');
    return true;
  }

  [Symbol.dispose](): void {
    closeReceived(this.fd, this.#kind);
  }
}
