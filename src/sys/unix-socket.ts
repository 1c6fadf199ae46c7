// Cellar: stream sockets of the UNIX domain, with descriptors in their messages (SCM_RIGHTS). unix(7), cmsg(3).
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { constants as os } from 'node:os';
import { dirname } from 'node:path';
import {
  AF_UNIX,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  O_CLOEXEC,
  O_NONBLOCK,
  SCM_RIGHTS,
  SO_ACCEPTCONN,
  SO_DOMAIN,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
} from './constants.ts';
import { check, checkOrAgain, closeFd, errno, libc, SystemError, systemError } from './libc.ts';
import { callScratch } from './scratch.ts';

/** sockaddr_un has 108 bytes for the path and its NUL. */
export const SOCKET_PATH_MAX = 107;
/** More than any vhost-user message carries; what comes beyond is an error, and closed. */
const FDS_MAX = 64;

// One layout of the call scratch for all socket calls: address, msghdr, iovec, control data, payload.
const ADDRESS = 0;
const MSGHDR = 256;
const IOVEC = 320;
const CONTROL = 512;
/** Room for the descriptors and, before them, what a socket inherited from systemd may be set to tell of its peer. */
const CONTROL_BYTES = 16 + 4 * FDS_MAX + 1024;
const PAYLOAD = 4096;
const PAYLOAD_MAX = 32 * 1024;

function writeAddress(path: string): number {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length > SOCKET_PATH_MAX) {
    throw new SystemError(
      'bind',
      'ENAMETOOLONG',
      `a socket path has at most ${SOCKET_PATH_MAX} bytes, this one has ${bytes.length}: ${path}`,
    );
  }
  callScratch.view.setUint16(ADDRESS, AF_UNIX, true);
  callScratch.bytes.set(bytes, ADDRESS + 2);
  callScratch.bytes[ADDRESS + 2 + bytes.length] = 0;
  return 2 + bytes.length + 1;
}

function newSocket(type = SOCK_STREAM): number {
  return check(libc.socket(AF_UNIX, type | O_CLOEXEC | O_NONBLOCK, 0), 'socket');
}

/** Walks the control messages up to `end`, each a struct cmsghdr { u64 length; i32 level; i32 type } and its data, aligned to 8. */
function takeDescriptors(view: DataView, end: number, fds: number[]): void {
  for (let at = CONTROL, length = 0; at + 16 <= end; at += Math.ceil(length / 8) * 8) {
    length = Math.max(16, Number(view.getBigUint64(at, true)));
    if (view.getInt32(at + 8, true) !== SOL_SOCKET || view.getInt32(at + 12, true) !== SCM_RIGHTS) continue;
    for (let fdAt = at + 16; fdAt + 4 <= at + length; fdAt += 4) fds.push(view.getInt32(fdAt, true));
  }
}

/** A connected stream socket. Non-blocking. */
export class UnixSocket implements Disposable {
  readonly fd: number;
  #open = true;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Connects to a listening socket. Throws SystemError: ENOENT, ECONNREFUSED (nobody listens), EAGAIN (its backlog is full). */
  static connect(path: string): UnixSocket {
    const length = writeAddress(path);
    const fd = newSocket();
    // SAFETY: the address lies in this thread's scratch until the call returns.
    if (libc.connect(fd, callScratch.address + BigInt(ADDRESS), length) < 0) {
      const error = systemError('connect', path);
      closeFd(fd);
      throw error;
    }
    return new UnixSocket(fd);
  }

  /** Two that are connected to each other. socketpair(2). */
  static pair(): [UnixSocket, UnixSocket] {
    // SAFETY: int sv[2] in this thread's scratch, read before the next call.
    check(libc.socketpair(AF_UNIX, SOCK_STREAM | O_CLOEXEC | O_NONBLOCK, 0, callScratch.address), 'socketpair');
    return [new UnixSocket(callScratch.view.getInt32(0, true)), new UnixSocket(callScratch.view.getInt32(4, true))];
  }

  /**
   * Reads up to `into.length` bytes and the descriptors that came with them, which the caller now owns.
   * @returns bytes read, 0 at the end, undefined when there is nothing now. Throws SystemError.
   */
  receive(into: Uint8Array, fds: number[]): number | undefined {
    const { view } = callScratch;
    const length = Math.min(into.length, PAYLOAD_MAX);
    this.#header(length, CONTROL_BYTES);
    // SAFETY: header, vector, control and payload are disjoint parts of this thread's scratch, consumed below.
    const result = libc.recvmsg(this.fd, callScratch.address + BigInt(MSGHDR), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const received = checkOrAgain(result, 'recvmsg');
    if (received === undefined) return undefined;
    const before = fds.length;
    takeDescriptors(view, CONTROL + Number(view.getBigUint64(MSGHDR + 40, true)), fds);
    if ((view.getInt32(MSGHDR + 48, true) & MSG_CTRUNC) !== 0 || fds.length - before > FDS_MAX)
      throw new SystemError('recvmsg', 'EMSGSIZE', 'too many descriptors in a message');
    into.set(callScratch.bytes.subarray(PAYLOAD, PAYLOAD + received));
    return received;
  }

  /** Sends all of `bytes`, with descriptors that stay the caller's. Throws SystemError; EAGAIN when the peer does not read. */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    const { view } = callScratch;
    const controlBytes = fds.length === 0 ? 0 : 16 + 8 * Math.ceil(fds.length / 2);
    callScratch.bytes.set(bytes, PAYLOAD);
    this.#header(bytes.length, controlBytes);
    if (controlBytes > 0) {
      view.setBigUint64(CONTROL, BigInt(16 + 4 * fds.length), true);
      view.setInt32(CONTROL + 8, SOL_SOCKET, true);
      view.setInt32(CONTROL + 12, SCM_RIGHTS, true);
      fds.forEach((fd, i) => {
        view.setInt32(CONTROL + 16 + 4 * i, fd, true);
      });
    }
    // SAFETY: as in receive; the kernel copies everything before it returns.
    const sent = check(
      libc.sendmsg(this.fd, callScratch.address + BigInt(MSGHDR), MSG_NOSIGNAL | MSG_DONTWAIT),
      'sendmsg',
    );
    if (sent !== bytes.length) throw new SystemError('sendmsg', 'EAGAIN', 'the peer does not read its messages');
  }

  /** struct msghdr { name, namelen, iov @16, iovlen @24, control @32, controllen @40, flags @48 } on a 64-bit machine. */
  #header(payloadBytes: number, controlBytes: number): void {
    const { view, address } = callScratch;
    callScratch.bytes.fill(0, MSGHDR, IOVEC + 16);
    view.setBigUint64(MSGHDR + 16, address + BigInt(IOVEC), true);
    view.setBigUint64(MSGHDR + 24, 1n, true);
    if (controlBytes > 0) view.setBigUint64(MSGHDR + 32, address + BigInt(CONTROL), true);
    view.setBigUint64(MSGHDR + 40, BigInt(controlBytes), true);
    view.setBigUint64(IOVEC, address + BigInt(PAYLOAD), true);
    view.setBigUint64(IOVEC + 8, BigInt(payloadBytes), true);
  }

  [Symbol.dispose](): void {
    if (this.#open) closeFd(this.fd);
    this.#open = false;
  }
}

/** A listening socket; removes its file when disposed, if it made one. */
export class UnixListener implements Disposable {
  readonly fd: number;
  /** The file it made, which is its to remove. */
  readonly path: string | undefined;
  #open = true;

  private constructor(fd: number, path: string | undefined) {
    this.fd = fd;
    this.path = path;
  }

  /** Listens at `path`, mode 0600. A socket file nobody listens on is replaced. Throws SystemError: EADDRINUSE, EEXIST, ENOENT, … */
  static listen(path: string): UnixListener {
    const length = writeAddress(path);
    removeStale(path);
    const fd = newSocket();
    writeAddress(path);
    // SAFETY: the address lies in this thread's scratch until the call returns.
    if (libc.bind(fd, callScratch.address + BigInt(ADDRESS), length) < 0) {
      const error = systemError('bind', `${path}: does the folder ${dirname(path)} exist, and may you write in it?`);
      closeFd(fd);
      throw error;
    }
    // Nobody can connect before listen(2), so there is no moment in which others could.
    chmodSync(path, 0o600);
    check(libc.listen(fd, 8), 'listen');
    return new UnixListener(fd, path);
  }

  /** Takes over a listening socket that was inherited. Throws SystemError EBADF, ENOTSOCK or EINVAL. */
  static adopt(fd: number): UnixListener {
    if (socketOption(fd, SO_DOMAIN) !== AF_UNIX)
      throw new SystemError('getsockopt', 'EINVAL', `descriptor ${fd} is not a UNIX socket`);
    if (socketOption(fd, SO_ACCEPTCONN) !== 1)
      throw new SystemError('getsockopt', 'EINVAL', `descriptor ${fd} is not a listening socket`);
    return new UnixListener(fd, undefined);
  }

  /** The next client, or undefined when there is none now. Throws SystemError EMFILE, ENFILE, ENOMEM: the client waits on. */
  accept(): UnixSocket | undefined {
    const result = libc.accept4(this.fd, 0n, 0n, O_CLOEXEC | O_NONBLOCK);
    const fd = checkOrAgain(result, 'accept4', 'raise the limit of open files (ulimit -n)');
    return fd === undefined ? undefined : new UnixSocket(fd);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.fd);
    if (this.path === undefined) return;
    try {
      unlinkSync(this.path);
    } catch {
      // Gone already: somebody cleaned up before us.
    }
  }
}

function socketOption(fd: number, option: number): number {
  callScratch.view.setInt32(4, 4, true);
  // SAFETY: value at 0, its length at 4, both in this thread's scratch.
  const result = libc.getsockopt(fd, SOL_SOCKET, option, callScratch.address, callScratch.address + 4n);
  check(result, 'getsockopt', `descriptor ${fd} is not an inherited socket`);
  return callScratch.view.getInt32(0, true);
}

function removeStale(path: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isSocket()) throw new SystemError('bind', 'EEXIST', `${path} exists and is not a socket`);
  if (isBound(path)) throw new SystemError('bind', 'EADDRINUSE', `${path}: another process serves it`);
  unlinkSync(path);
}

/** Whether a socket file has a socket behind it. A stream connection would be a client; one of another type is refused, and tells. */
function isBound(path: string): boolean {
  const length = writeAddress(path);
  const fd = newSocket(SOCK_SEQPACKET);
  // SAFETY: the address lies in this thread's scratch until the call returns.
  const result = libc.connect(fd, callScratch.address + BigInt(ADDRESS), length);
  const isStale = result < 0 && errno() === os.errno.ECONNREFUSED;
  closeFd(fd);
  return !isStale;
}
