// sys: struct sockaddr_un: the path of a socket, or its name in the abstract namespace. unix(7).
import { AF_UNIX, SO_DOMAIN } from './constants.ts';
import { check, libc, SystemError } from './libc.ts';
import { callScratch } from './scratch.ts';
import { socketOption } from './socket-options.ts';

/** sockaddr_un has 108 bytes for the path and its NUL. */
export const SOCKET_PATH_MAX = 107;

const PATH = 2;
const ADDRESS_BYTES = 110;
/** Offset in the scratch of the length of an address, behind any address. */
const LENGTH = 112;

/** Writes the address of `path` at the start of this thread's scratch and returns its length. Throws ENAMETOOLONG. */
export function writeAddress(path: string): number {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length > SOCKET_PATH_MAX) {
    throw new SystemError(
      'bind',
      'ENAMETOOLONG',
      `a socket path has at most ${SOCKET_PATH_MAX} bytes, this one has ${bytes.length}: ${path}`,
    );
  }
  callScratch.view.setUint16(0, AF_UNIX, true);
  callScratch.bytes.set(bytes, PATH);
  callScratch.bytes[PATH + bytes.length] = 0;
  return PATH + bytes.length + 1;
}

/**
 * Returns the bytes of the path or abstract name (which begins with a zero byte) that `fd` is bound to; none if it is
 * not bound. A path ends with its NUL. Throws SystemError EBADF, ENOTSOCK. getsockname(2).
 */
export function localAddress(fd: number): Uint8Array<ArrayBuffer> {
  return readAddress('getsockname', fd);
}

/** Whether a socket is the other end of a connection to the listener whose `localAddress` is given. getpeername(2). */
export function isPeerOf(fd: number, listenerAddress: Uint8Array): boolean {
  // The domain is checked first: getpeername(2) of a TCP socket takes its lock, which another process may hold.
  if (listenerAddress.length === 0 || socketOption(fd, SO_DOMAIN) !== AF_UNIX) return false;
  try {
    const peer = readAddress('getpeername', fd);
    return peer.length === listenerAddress.length && peer.every((byte, i) => byte === listenerAddress[i]);
  } catch {
    return false; // not connected
  }
}

function readAddress(call: 'getsockname' | 'getpeername', fd: number): Uint8Array<ArrayBuffer> {
  const { view, address, bytes } = callScratch;
  view.setUint32(LENGTH, ADDRESS_BYTES, true);
  // SAFETY: the kernel writes at most ADDRESS_BYTES and the true length into this thread's scratch.
  check(libc[call](fd, address, address + BigInt(LENGTH)), call, `descriptor ${fd} is not a connected or bound socket`);
  const length = Math.min(ADDRESS_BYTES, view.getUint32(LENGTH, true));
  return view.getUint16(0, true) === AF_UNIX ? bytes.slice(PATH, length) : bytes.slice(0, 0);
}
