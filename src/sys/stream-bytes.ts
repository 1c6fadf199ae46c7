// sys: the bytes of a connected stream socket, as many as there is room for. sendmsg(2), recv(2).
import { addressOf } from './address.ts';
import { MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR } from './constants.ts';
import { writeIovecs } from './iovec.ts';
import { checkOrAgain, libc } from './libc.ts';
import { callScratch } from './scratch.ts';

/** Where struct msghdr is in the scratch, behind the vector. */
const MSGHDR = 1024;
const MSGHDR_BYTES = 56;
/** Pieces of one call. */
const PIECES_MAX = MSGHDR / 16;

/**
 * Sends up to 64 pieces, one after the other. Returns how many bytes the socket took, undefined where it takes none
 * now. Throws SystemError: EPIPE, ECONNRESET.
 */
export function sendSome(fd: number, pieces: readonly Uint8Array[]): number | undefined {
  const { view, address, bytes } = callScratch;
  const count = Math.min(pieces.length, PIECES_MAX);
  writeIovecs(callScratch, count < pieces.length ? pieces.slice(0, count) : pieces);
  // struct msghdr: name, namelen, iov @16, iovlen @24, control, controllen, flags.
  bytes.fill(0, MSGHDR, MSGHDR + MSGHDR_BYTES);
  view.setBigUint64(MSGHDR + 16, address, true);
  view.setBigUint64(MSGHDR + 24, BigInt(count), true);
  // SAFETY: `pieces` keeps the bytes alive; header and vector are in this thread's scratch until the call returns.
  const sent = libc.sendmsg(fd, address + BigInt(MSGHDR), MSG_DONTWAIT | MSG_NOSIGNAL);
  return checkOrAgain(sent, 'sendmsg');
}

/** Reads up to `into.length` bytes. Returns how many, 0 at the end, undefined where there are none now. */
export function receiveSome(fd: number, into: Uint8Array): number | undefined {
  // SAFETY: `into` is alive until the call returns, which writes no more than its length.
  const received = libc.recv(fd, BigInt(addressOf(into)), BigInt(into.length), MSG_DONTWAIT);
  return checkOrAgain(received, 'recv');
}

/** Ends our direction: the peer reads the end after what was sent. A peer that is gone already is no error. */
export function endOutput(fd: number): void {
  libc.shutdown(fd, SHUT_WR);
}
