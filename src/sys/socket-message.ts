// sys: a message of a stream socket with descriptors in it (SCM_RIGHTS). recvmsg(2), sendmsg(2), cmsg(3).
import { MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET } from './constants.ts';
import { check, checkOrAgain, closeFd, duplicateFd, libc, SystemError } from './libc.ts';
import { closeReceived } from './received-fd.ts';
import { callScratch } from './scratch.ts';

/** More than any vhost-user message carries. A message with more is an error, and all its descriptors are closed. */
const FDS_MAX = 64;

// The layout of the call scratch: msghdr, iovec, control data, payload.
const MSGHDR = 256;
const IOVEC = 320;
const CONTROL = 512;
/**
 * Room for as many descriptors as the kernel puts into a message (SCM_MAX_FD), and for the credentials of the peer on a
 * socket from systemd.
 */
const CONTROL_BYTES = 16 + 4 * 253 + 4 + 1024;
const PAYLOAD = 4096;
const PAYLOAD_MAX = 32 * 1024;

/**
 * Reads up to `into.length` bytes, and appends the descriptors that came with them to `fds`: the caller owns
 * them. Returns the number of bytes, 0 at the end of the stream, `undefined` when nothing can be read. Throws
 * SystemError: EMSGSIZE for too many descriptors, EMFILE where this process can open no more. The received descriptors
 * are closed then.
 */
export function receiveMessage(fd: number, into: Uint8Array, fds: number[]): number | undefined {
  const { view, bytes, address } = callScratch;
  const length = Math.min(into.length, PAYLOAD_MAX);
  writeHeader(length, CONTROL_BYTES);
  // SAFETY: header, vector, control data and payload are disjoint parts of this thread's scratch, read before the next
  // call.
  const result = libc.recvmsg(fd, address + BigInt(MSGHDR), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  const received = checkOrAgain(result, 'recvmsg');
  if (received === undefined) return undefined;
  into.set(bytes.subarray(PAYLOAD, PAYLOAD + received));
  const arrived = receivedDescriptors(CONTROL + Number(view.getBigUint64(MSGHDR + 40, true)));
  const isCut = (view.getInt32(MSGHDR + 48, true) & MSG_CTRUNC) !== 0;
  if (isCut || arrived.length > FDS_MAX) {
    const error = refusal(fd, arrived.length);
    for (const one of arrived) closeReceived(one);
    throw error;
  }
  fds.push(...arrived);
  return received;
}

/**
 * Walks the control messages up to `end`, each a struct cmsghdr { u64 length; i32 level; i32 type } and data, aligned
 * to 8.
 */
function receivedDescriptors(end: number): number[] {
  const { view } = callScratch;
  const fds: number[] = [];
  for (let at = CONTROL, length = 0; at + 16 <= end; at += Math.ceil(length / 8) * 8) {
    length = Math.max(16, Number(view.getBigUint64(at, true)));
    if (view.getInt32(at + 8, true) !== SOL_SOCKET || view.getInt32(at + 12, true) !== SCM_RIGHTS) continue;
    for (let fdAt = at + 16; fdAt + 4 <= at + length; fdAt += 4) fds.push(view.getInt32(fdAt, true));
  }
  return fds;
}

/**
 * The kernel does not report why it cut the descriptors of a message. One more dup shows whether the descriptor table
 * is full.
 */
function refusal(fd: number, count: number): SystemError {
  if (count > FDS_MAX)
    return new SystemError('recvmsg', 'EMSGSIZE', `${count} descriptors in a message: at most ${FDS_MAX} are taken`);
  try {
    closeFd(duplicateFd(fd));
  } catch (error) {
    if ((error as SystemError).code === 'EMFILE')
      return new SystemError('recvmsg', 'EMFILE', 'no room for received descriptors: raise the limit (ulimit -n)');
  }
  return new SystemError('recvmsg', 'EACCES', 'the kernel does not let this process receive a descriptor');
}

/**
 * Sends all of `bytes`, with descriptors that stay the caller's. Throws SystemError: EAGAIN if the peer does not read.
 */
export function sendMessage(fd: number, bytes: Uint8Array, fds: readonly number[]): void {
  const { view, address } = callScratch;
  const controlBytes = fds.length === 0 ? 0 : 16 + 8 * Math.ceil(fds.length / 2);
  callScratch.bytes.set(bytes, PAYLOAD);
  writeHeader(bytes.length, controlBytes);
  if (controlBytes > 0) {
    view.setBigUint64(CONTROL, BigInt(16 + 4 * fds.length), true);
    view.setInt32(CONTROL + 8, SOL_SOCKET, true);
    view.setInt32(CONTROL + 12, SCM_RIGHTS, true);
    fds.forEach((one, i) => {
      view.setInt32(CONTROL + 16 + 4 * i, one, true);
    });
  }
  // SAFETY: as in receiveMessage; the kernel copies everything before the call returns.
  const sent = check(libc.sendmsg(fd, address + BigInt(MSGHDR), MSG_NOSIGNAL | MSG_DONTWAIT), 'sendmsg');
  if (sent !== bytes.length) throw new SystemError('sendmsg', 'EAGAIN', 'the peer does not read its messages');
}

/** struct msghdr { name, namelen, iov @16, iovlen @24, control @32, controllen @40, flags @48 } on a 64-bit machine. */
function writeHeader(payloadBytes: number, controlBytes: number): void {
  const { view, address, bytes } = callScratch;
  bytes.fill(0, MSGHDR, IOVEC + 16);
  view.setBigUint64(MSGHDR + 16, address + BigInt(IOVEC), true);
  view.setBigUint64(MSGHDR + 24, 1n, true);
  if (controlBytes > 0) view.setBigUint64(MSGHDR + 32, address + BigInt(CONTROL), true);
  view.setBigUint64(MSGHDR + 40, BigInt(controlBytes), true);
  view.setBigUint64(IOVEC, address + BigInt(PAYLOAD), true);
  view.setBigUint64(IOVEC + 8, BigInt(payloadBytes), true);
}
