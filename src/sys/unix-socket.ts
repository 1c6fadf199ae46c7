// sys: stream sockets of the UNIX domain, connected or listening. Messages: socket-message.ts. unix(7).
import { fchmodSync } from 'node:fs';
import { closeAsynchronously } from './asynchronous-close.ts';
import {
  AF_UNIX,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  FD_CLOEXEC,
  MSG_DONTWAIT,
  MSG_PEEK,
  O_CLOEXEC,
  O_NONBLOCK,
  SHUT_RDWR,
  SO_ACCEPTCONN,
  SO_DOMAIN,
  SO_TYPE,
  SOCK_STREAM,
} from './constants.ts';
import { check, checkOrAgain, closeFd, libc, SystemError, systemError } from './libc.ts';
import { closeReceived, nameOfKind, receivedKind } from './received-fd.ts';
import { callScratch } from './scratch.ts';
import { localAddress, writeAddress } from './socket-address.ts';
import { bindFile, newSocket, removeSocketFile, removeStale, type SocketFile } from './socket-file.ts';
import { receiveMessage, sendMessage } from './socket-message.ts';
import { peerPidFd, readOutOfBandInline, socketOption } from './socket-options.ts';

export { SOCKET_PATH_MAX } from './socket-address.ts';

/** Which other process may hold this end too: none, the one that sent it, or the one it was sent to. */
type Holder = 'alone' | 'sender' | 'receiver';

/** A connected stream socket. No call blocks. */
export class UnixSocket implements Disposable {
  readonly fd: number;
  readonly #holder: Holder;
  #open = true;

  /** Takes over an end that no other process has. For an end that was received use `adopt`. */
  constructor(fd: number, holder: Holder = 'alone') {
    this.fd = fd;
    this.#holder = holder;
    readOutOfBandInline(fd);
  }

  /**
   * Connects to a listening socket. The end is not for another process: disposing it ends the connection (`pair` makes
   * an end to pass on). Throws SystemError: ENOENT, ECONNREFUSED (no listener), EAGAIN (its backlog is full).
   */
  static connect(path: string): UnixSocket {
    const fd = newSocket();
    try {
      const length = writeAddress(path);
      // SAFETY: the address is in this thread's scratch until the call returns.
      check(libc.connect(fd, callScratch.address, length), 'connect', path);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    return new UnixSocket(fd);
  }

  /**
   * Returns the two ends of a new connection. The second is for another process: disposing it leaves that process
   * connected. socketpair(2).
   */
  static pair(): [ours: UnixSocket, theirs: UnixSocket] {
    const { view, address } = callScratch;
    // SAFETY: int sv[2] in this thread's scratch, read before the next call.
    check(libc.socketpair(AF_UNIX, SOCK_STREAM | O_CLOEXEC | O_NONBLOCK, 0, address), 'socketpair');
    const [ours, theirs] = [view.getInt32(0, true), view.getInt32(4, true)];
    return [new UnixSocket(ours), new UnixSocket(theirs, 'receiver')];
  }

  /**
   * Takes over a received end, which its sender may have kept. A sender that reads from it can block our
   * `receive` for ever (see `ReceivedKind`); `send` does not block. Throws SystemError EBADF, or EINVAL for another
   * kind.
   */
  static adopt(fd: number): UnixSocket {
    const kind = receivedKind(fd);
    if (kind !== 'socket')
      throw new SystemError('getsockopt', 'EINVAL', `the descriptor is ${nameOfKind(kind)}: send a UNIX stream socket`);
    return new UnixSocket(fd, 'sender');
  }

  /**
   * Reads up to `into.length` bytes and appends the descriptors that came with them, which the caller owns. Returns the
   * number of bytes, 0 at the end, `undefined` when nothing can be read. Throws SystemError, after closing the received
   * descriptors: EMSGSIZE (too many descriptors), EMFILE (this process can open no more).
   */
  receive(into: Uint8Array, fds: number[]): number | undefined {
    return receiveMessage(this.fd, into, fds);
  }

  /**
   * Sends all of `bytes`, with descriptors that stay the caller's. Throws SystemError: EAGAIN if the peer does not
   * read.
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    sendMessage(this.fd, bytes, fds);
  }

  /**
   * Returns a new descriptor, owned by the caller, that is readable once the process that connected has exited;
   * `undefined` before Linux 6.5. That process may have passed its end to another one, so its exit need not end the
   * connection.
   */
  peerPidFd(): number | undefined {
    return peerPidFd(this.fd);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#holder === 'alone') closeConnection(this.fd);
    else if (this.#holder === 'sender') closeReceived(this.fd, 'socket');
    else closeFd(this.fd);
  }
}

/**
 * Closes our end of a connection without blocking. close(2) also closes the descriptors in unread messages, which
 * blocks for a TCP socket that lingers. After shutdown(2) no message can arrive.
 */
function closeConnection(fd: number): void {
  libc.shutdown(fd, SHUT_RDWR);
  // SAFETY: one byte of this thread's scratch.
  const unread = libc.recv(fd, callScratch.address, 1n, MSG_PEEK | MSG_DONTWAIT);
  if (unread > 0) closeAsynchronously(fd);
  else closeFd(fd);
}

/** A listening socket. Disposing it removes its file, if it created one. */
export class UnixListener implements Disposable {
  readonly fd: number;
  /** The file it created; `undefined` for a listener that was inherited. */
  readonly file: SocketFile | undefined;
  #open = true;

  private constructor(fd: number, file?: SocketFile) {
    this.fd = fd;
    this.file = file;
  }

  /** The path of the file it created. */
  get path(): string | undefined {
    return this.file?.path;
  }

  /**
   * Listens at `path`, mode 0600. A stale socket file is replaced. Throws SystemError: EADDRINUSE, EEXIST,
   * ENOENT, …
   */
  static listen(path: string): UnixListener {
    writeAddress(path); // throws ENAMETOOLONG before anything is created
    removeStale(path);
    const fd = newSocket();
    let file: SocketFile | undefined;
    try {
      // Before bind(2), so that the file has this mode from the start.
      fchmodSync(fd, 0o600);
      file = bindFile(fd, path);
      check(libc.listen(fd, 8), 'listen');
      return new UnixListener(fd, file);
    } catch (error) {
      if (file !== undefined) removeSocketFile(file);
      closeFd(fd);
      throw error;
    }
  }

  /**
   * Takes over a listening socket that was inherited, and makes it non-blocking and closed on exec. Throws SystemError:
   * EBADF, ENOTSOCK, or EINVAL for a socket of another family or type, or one that does not listen.
   */
  static adopt(fd: number): UnixListener {
    if (inheritedOption(fd, SO_DOMAIN) !== AF_UNIX) throw unsuitable(fd, 'a UNIX socket');
    if (inheritedOption(fd, SO_TYPE) !== SOCK_STREAM) throw unsuitable(fd, 'a stream socket');
    if (inheritedOption(fd, SO_ACCEPTCONN) !== 1) throw unsuitable(fd, 'a listening socket');
    // systemd's sockets are blocking: accept4(2) would block where the client has disconnected already.
    check(libc.fcntl(fd, F_SETFL, check(libc.fcntl(fd, F_GETFL, 0), 'fcntl') | O_NONBLOCK), 'fcntl');
    check(libc.fcntl(fd, F_SETFD, FD_CLOEXEC), 'fcntl');
    return new UnixListener(fd);
  }

  /**
   * The address it is bound to, for `isPeerOf`: whether a received socket is a client's end of a connection to it.
   */
  get address(): Uint8Array<ArrayBuffer> {
    return localAddress(this.fd);
  }

  /**
   * Returns the next client, `undefined` when there is none. Throws SystemError EMFILE, ENFILE, ENOMEM; the client
   * then stays in the backlog.
   */
  accept(): UnixSocket | undefined {
    const result = libc.accept4(this.fd, 0n, 0n, O_CLOEXEC | O_NONBLOCK);
    const fd = checkOrAgain(result, 'accept4');
    return fd === undefined ? undefined : new UnixSocket(fd);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    // The file is removed first: while the socket is open, a successor's file cannot have the same inode number.
    if (this.file !== undefined) {
      removeSocketFile(this.file);
      this.#refuseClients();
    }
    closeFd(this.fd);
  }

  /** Refuses new clients and closes those in the backlog: close(2) would also close their messages, which may block. */
  #refuseClients(): void {
    libc.shutdown(this.fd, SHUT_RDWR);
    try {
      for (let client = this.accept(); client !== undefined; client = this.accept()) client[Symbol.dispose]();
    } catch {
      // EINVAL: none is left.
    }
  }
}

function inheritedOption(fd: number, option: number): number {
  const value = socketOption(fd, option);
  if (value === undefined) throw systemError('getsockopt', `descriptor ${fd} is not an inherited socket`);
  return value;
}

function unsuitable(fd: number, wanted: string): SystemError {
  return new SystemError('getsockopt', 'EINVAL', `descriptor ${fd} is not ${wanted}`);
}
