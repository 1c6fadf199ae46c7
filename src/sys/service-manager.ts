// Cellar: tells systemd, or whatever started this process, how far it is. sd_notify(3).
import { AF_UNIX, O_CLOEXEC, O_NONBLOCK, SOCK_DGRAM } from './constants.ts';
import { closeFd, libc } from './libc.ts';
import { callScratch } from './scratch.ts';
import { writeAddress } from './socket-address.ts';

/** How much of a text is sent. */
const TEXT_BYTES_MAX = 1024;
/** Behind any address. */
const TEXT = 128;

export const serviceManager = {
  /**
   * Sends one line, as in `READY=1` or `STATUS=…`, to the socket of $NOTIFY_SOCKET. Does nothing where there is none; a manager that does
   * not listen is no error.
   */
  notify(line: string, socket = process.env.NOTIFY_SOCKET): void {
    if (socket === undefined || !/^[/@]/.test(socket)) return;
    const fd = libc.socket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0) return;
    try {
      const text = new TextEncoder().encode(line).subarray(0, TEXT_BYTES_MAX);
      const length = addressLength(socket);
      callScratch.bytes.set(text, TEXT);
      // SAFETY: address and text lie in this thread's scratch until the calls return; the text is at most TEXT_BYTES_MAX long.
      if (libc.connect(fd, callScratch.address, length) === 0)
        libc.write(fd, callScratch.address + BigInt(TEXT), BigInt(text.length));
    } catch {
      // A path that is too long: nobody can listen there.
    } finally {
      closeFd(fd);
    }
  },
};

/** A name that begins with @ is in the abstract namespace: its first byte is zero, and it has no NUL at its end. unix(7). */
function addressLength(socket: string): number {
  const length = writeAddress(socket);
  if (!socket.startsWith('@')) return length;
  callScratch.bytes[2] = 0;
  return length - 1;
}
