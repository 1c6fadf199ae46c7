// sys: a pseudo-terminal: a terminal for another program, of which this process has the other end. pty(7).
import { constants as open } from 'node:fs';
import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { check, checkOrAgain, closeFd, libc } from './libc.ts';
import { callScratch } from './scratch.ts';

// asm-generic/ioctls.h
const TIOCGPTN = 0x80045430n;
const TIOCSPTLCK = 0x40045431n;
const TCSANOW = 0;

// sys/inotify.h
const IN_CLOSE = 0x18;
const IN_OPEN = 0x20;

// poll.h
const POLLHUP = 0x10;

const FLAGS = open.O_RDWR | open.O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
const NOT_ALLOWED = 'is devpts mounted, and is there room for another (kernel.pty.max)?';
/** As much as one call reads or writes. */
const PIECE_BYTES = 32 * 1024;

/** A pseudo-terminal, in raw mode: no key means anything to it. No call blocks. */
export class PseudoTerminal implements Disposable {
  /** The other end of the terminal. Hung up while no program has the terminal open: watch it only while `isInUse`. */
  readonly fd: number;
  /** The terminal: /dev/pts/N. */
  readonly path: string;
  /** Readable when a program has opened or closed the terminal, until `clearChanges`. */
  readonly changesFd: number;
  #isOpen = true;

  private constructor(fd: number, path: string, changesFd: number) {
    this.fd = fd;
    this.path = path;
    this.changesFd = changesFd;
  }

  /** Makes a new one. Throws SystemError: ENOENT, ENOSPC, EMFILE. */
  static open(): PseudoTerminal {
    // SAFETY: paths and numbers here are in this thread's scratch until each call returns.
    const fd = check(libc.open(callScratch.cString(0, '/dev/ptmx'), FLAGS, 0), 'open', `/dev/ptmx: ${NOT_ALLOWED}`);
    try {
      const { view, address } = callScratch;
      view.setInt32(0, 0, true);
      // SAFETY: an int, as above.
      check(libc.ioctl(fd, TIOCSPTLCK, address), 'TIOCSPTLCK');
      // SAFETY: an int, as above.
      check(libc.ioctl(fd, TIOCGPTN, address), 'TIOCGPTN');
      const path = `/dev/pts/${view.getInt32(0, true)}`;
      makeRaw(path);
      return PseudoTerminal.adopt(fd, path);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** Takes over the descriptor of another one; that one is not to be used any more. Throws SystemError. */
  static adopt(fd: number, path: string): PseudoTerminal {
    const changesFd = check(libc.inotify_init1(O_CLOEXEC | O_NONBLOCK), 'inotify_init1');
    // SAFETY: the path is in this thread's scratch until the call returns.
    const watch = libc.inotify_add_watch(changesFd, callScratch.cString(0, path), IN_OPEN | IN_CLOSE);
    try {
      check(watch, 'inotify_add_watch', path);
    } catch (error) {
      closeFd(changesFd);
      throw error;
    }
    return new PseudoTerminal(fd, path, changesFd);
  }

  /** Whether a program has the terminal open. */
  get isInUse(): boolean {
    const { view, address } = callScratch;
    // struct pollfd: fd, events, revents @6.
    view.setInt32(0, this.fd, true);
    view.setInt32(4, 0, true);
    // SAFETY: one struct in this thread's scratch; it does not wait.
    check(libc.poll(address, 1n, 0), 'poll');
    return (view.getUint16(6, true) & POLLHUP) === 0;
  }

  /** Forgets which changes made `changesFd` readable. */
  clearChanges(): void {
    const { address, bytes } = callScratch;
    // SAFETY: this thread's scratch, and no more than its length.
    while (libc.read(this.changesFd, address, BigInt(bytes.length)) > 0);
  }

  /** Returns a copy of what was typed, undefined where that is nothing. Throws SystemError: EIO where it is not in use. */
  read(): Uint8Array | undefined {
    const { address, bytes } = callScratch;
    // SAFETY: as above.
    const count = checkOrAgain(libc.read(this.fd, address, BigInt(PIECE_BYTES)), 'read', this.path);
    return count === undefined || count === 0 ? undefined : bytes.slice(0, count);
  }

  /** Shows bytes. Returns how many: fewer where the program does not read them. Throws SystemError: EIO. */
  write(bytes: Uint8Array): number {
    const piece = bytes.subarray(0, PIECE_BYTES);
    callScratch.bytes.set(piece);
    // SAFETY: as above; the kernel only reads it.
    return checkOrAgain(libc.write(this.fd, callScratch.address, BigInt(piece.length)), 'write', this.path) ?? 0;
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeFd(this.fd);
    closeFd(this.changesFd);
  }
}

/** Its settings last as long as its other end is open. Without a first opening it does not count as hung up. */
function makeRaw(path: string): void {
  // SAFETY: the path is in this thread's scratch until the call returns.
  const fd = check(libc.open(callScratch.cString(0, path), FLAGS, 0), 'open', `${path}: ${NOT_ALLOWED}`);
  const { address } = callScratch;
  try {
    // SAFETY: a struct termios in this thread's scratch, for all three calls.
    check(libc.tcgetattr(fd, address), 'tcgetattr', path);
    libc.cfmakeraw(address);
    check(libc.tcsetattr(fd, TCSANOW, address), 'tcsetattr', path);
  } finally {
    closeFd(fd);
  }
}
