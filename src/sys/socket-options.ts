// sys: options of a socket at the level SOL_SOCKET. socket(7), getsockopt(2).
import { SO_OOBINLINE, SO_PEERPIDFD, SOL_SOCKET } from './constants.ts';
import { libc } from './libc.ts';
import { callScratch } from './scratch.ts';

/** Returns an option that is an int, or `undefined` where getsockopt(2) fails and sets errno. */
export function socketOption(fd: number, option: number): number | undefined {
  const { view, address } = callScratch;
  view.setInt32(4, 4, true);
  // SAFETY: an int and, behind it, its length, in this thread's scratch.
  const result = libc.getsockopt(fd, SOL_SOCKET, option, address, address + 4n);
  return result < 0 ? undefined : view.getInt32(0, true);
}

/**
 * Makes an out-of-band byte part of the stream of a UNIX socket. By default the kernel drops that byte inside
 * recvmsg(2) and closes the descriptors it carried; for a TCP socket that lingers this would block the reader.
 */
export function readOutOfBandInline(fd: number): void {
  callScratch.view.setInt32(0, 1, true);
  // SAFETY: the int is in this thread's scratch until the call returns.
  libc.setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, callScratch.address, 4);
}

/**
 * Returns a new descriptor that becomes readable when the process that called connect(2) on the other end has exited;
 * `undefined` before Linux 6.5. That process may have passed its end to another one before. pidfd_open(2).
 */
export function peerPidFd(fd: number): number | undefined {
  return socketOption(fd, SO_PEERPIDFD);
}
