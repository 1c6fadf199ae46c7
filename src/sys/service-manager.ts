// sys: reports the state of this process to its service manager, systemd for one. sd_notify(3).
import { AF_UNIX, O_CLOEXEC, O_NONBLOCK, SOCK_DGRAM } from './constants.ts';
import { closeFd, libc } from './libc.ts';
import { callScratch } from './scratch.ts';
import { writeAddress } from './socket-address.ts';

/** A longer text is cut. */
const TEXT_BYTES_MAX = 1024;
/** Offset of the text in the scratch, behind any address. */
const TEXT = 128;

export const serviceManager = {
  /**
   * Sends one line, as in `READY=1` or `STATUS=…`, to the socket of $NOTIFY_SOCKET. Does nothing where there is none.
   * It is no error if no manager listens.
   */
  notify(line: string, socket = process.env.NOTIFY_SOCKET): void {
    if (socket === undefined || !/^[/@]/.test(socket)) return;
    const fd = libc.socket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0) return;
    try {
      const text = new TextEncoder().encode(line).subarray(0, TEXT_BYTES_MAX);
      const length = addressLength(socket);
      callScratch.bytes.set(text, TEXT);
      // SAFETY: address and text are in this thread's scratch until the calls return; the text is at most
      // TEXT_BYTES_MAX long.
      if (libc.connect(fd, callScratch.address, length) === 0)
        libc.write(fd, callScratch.address + BigInt(TEXT), BigInt(text.length));
    } catch {
      // The path is too long: no socket can be bound to it.
    } finally {
      closeFd(fd);
    }
  },
};

/**
 * A name that begins with @ is in the abstract namespace: its first byte is zero, and it has no NUL at its end.
 * unix(7).
 */
function addressLength(socket: string): number {
  const length = writeAddress(socket);
  if (!socket.startsWith('@')) return length;
  callScratch.bytes[2] = 0;
  return length - 1;
}
