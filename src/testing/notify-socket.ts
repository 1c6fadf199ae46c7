// testing: the socket of a service manager, for tests of notifications to it. sd_notify(3).
import { AF_UNIX, O_CLOEXEC, O_NONBLOCK, SOCK_DGRAM } from '../sys/constants.ts';
import { check, checkOrAgain, closeFd, libc } from '../sys/libc.ts';
import { callScratch } from '../sys/scratch.ts';
import { writeAddress } from '../sys/socket-address.ts';

const MESSAGE_BYTES_MAX = 4096;

/** A datagram socket that receives sd_notify messages. */
export class NotifySocket implements Disposable {
  /** The value for $NOTIFY_SOCKET. */
  readonly name: string;
  readonly fd: number;

  /** @param name a path, or a name in the abstract namespace: `@…`. Throws SystemError. */
  constructor(name: string) {
    this.name = name;
    this.fd = check(libc.socket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC | O_NONBLOCK, 0), 'socket');
    const isAbstract = name.startsWith('@');
    const length = writeAddress(name) - (isAbstract ? 1 : 0);
    if (isAbstract) callScratch.bytes[2] = 0;
    // SAFETY: the address is in this thread's scratch until the call returns.
    check(libc.bind(this.fd, callScratch.address, length), 'bind', name);
  }

  /** Returns the messages that arrived since the last call, one for each datagram. */
  take(): string[] {
    const messages: string[] = [];
    for (;;) {
      // SAFETY: the kernel writes at most so many bytes into this thread's scratch.
      const received = libc.recv(this.fd, callScratch.address, BigInt(MESSAGE_BYTES_MAX), 0);
      const length = checkOrAgain(received, 'recv');
      if (length === undefined) return messages;
      messages.push(new TextDecoder().decode(callScratch.bytes.slice(0, length)));
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}
