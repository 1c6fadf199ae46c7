// Received descriptors: their kind, and closing them, however hostile the sender.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { lingeringTcp } from '../testing/lingering-tcp.ts';
import { makePipe } from '../testing/pipe.ts';
import { FUSE_FLUSH, FUSE_INIT, FUSE_LOOKUP, FUSE_OPEN, SilentFileSystem } from '../testing/silent-file-system.ts';
import { CLOSES_MAX, closesPending, leakedDescriptors, reportLeaks } from './asynchronous-close.ts';
import { AF_UNIX, O_PATH, SOCK_SEQPACKET, TMPFS_MAGIC } from './constants.ts';
import { Epoll } from './epoll.ts';
import { EventFd } from './event-fd.ts';
import { check, closeFd, duplicateFd, libc } from './libc.ts';
import { createMemfd } from './memfd.ts';
import { closeReceived, nameOfKind, type ReceivedKind, receivedKind } from './received-fd.ts';
import { TimerFd } from './timer-fd.ts';
import { UnixSocket } from './unix-socket.ts';

const AF_INET = 2;
const AF_NETLINK = 16;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;

const openFds = (): number => readdirSync('/proc/self/fd').length;
const newSocket = (family: number, type: number): number => check(libc.socket(family, type, 0), 'socket');
const noFuse = SilentFileSystem.whyNot() ?? false;

/** Waits, turn by turn of Node's loop, until every close has ended: other threads do that, without an event. */
async function allClosed(): Promise<void> {
  while (closesPending() > 0) await new Promise(setImmediate);
}

function isOfKind(kind: ReceivedKind, fd: number): void {
  assert.equal(receivedKind(fd), kind);
  closeFd(fd);
}

test('an eventfd is one, whatever its flags', () => {
  isOfKind('eventfd', duplicateFd(EventFd.create().fd));
  isOfKind('eventfd', libc.eventfd(3, 0));
});

test('a stream socket of the UNIX domain is a socket, connected or not', () => {
  const [ours, theirs] = UnixSocket.pair();
  isOfKind('socket', ours.fd);
  isOfKind('socket', theirs.fd);
  isOfKind('socket', newSocket(AF_UNIX, SOCK_STREAM));
});

test('any other socket is a foreign one', () => {
  isOfKind('foreign-socket', newSocket(AF_UNIX, SOCK_DGRAM));
  isOfKind('foreign-socket', newSocket(AF_UNIX, SOCK_SEQPACKET));
  isOfKind('foreign-socket', newSocket(AF_INET, SOCK_STREAM));
  isOfKind('foreign-socket', newSocket(AF_INET, SOCK_DGRAM));
  isOfKind('foreign-socket', newSocket(AF_NETLINK, SOCK_DGRAM));
});

test('either end of a pipe is a pipe', async () => {
  const { readFd, writeFd } = await makePipe();
  isOfKind('pipe', readFd);
  isOfKind('pipe', writeFd);
});

test('a memfd is memory, and so is a file of tmpfs', (t) => {
  isOfKind('memory', createMemfd('anon_inode:[eventfd]', 4096));
  if (statfsSync('/dev/shm').type !== TMPFS_MAGIC)
    return t.diagnostic('/dev/shm is not a tmpfs here: half of it not tried');
  const path = `/dev/shm/belfry-kind-${process.pid}`;
  isOfKind('memory', openSync(path, 'w+'));
  rmSync(path);
});

test('another object of the kernel is an anonymous inode', () => {
  isOfKind('anon-inode', new Epoll().fd);
  isOfKind('anon-inode', new TimerFd().fd);
});

test('files, folders, devices, and what was opened for its path alone, are other things', () => {
  for (const path of ['/dev/null', '/dev/zero', '/', import.meta.filename]) isOfKind('other', openSync(path, 'r'));
  isOfKind('other', openSync(import.meta.filename, O_PATH));
  isOfKind('other', openSync('/proc/self/status', 'r'));
});

test('a file with the name of an eventfd is a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-kind-'));
  const path = join(folder, 'anon_inode:[eventfd]');
  writeFileSync(path, '');
  isOfKind('other', openSync(path, 'r'));
  rmSync(folder, { recursive: true });
});

test('what is not open is EBADF', () => {
  for (const fd of [-1, 1_000_000])
    assert.throws(() => receivedKind(fd), { code: 'EBADF', message: `fcntl: EBADF: descriptor ${fd} is not open` });
});

test('the name of a kind quotes nothing that the sender chose', () => {
  const fd = createMemfd('x\n\x1b[31mforged', 4096);
  assert.equal(nameOfKind(receivedKind(fd)), 'a memfd or a file in memory');
  closeFd(fd);
});

test('regression: without /proc a kick still works', (t) => {
  if (process.getuid?.() !== 0) return t.skip('a mount namespace needs root');
  const module = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  const program = `
    const { receivedKind } = await import('${module('received-fd.ts')}');
    const { EventFd } = await import('${module('event-fd.ts')}');
    const { createMemfd } = await import('${module('memfd.ts')}');
    const { UnixSocket } = await import('${module('unix-socket.ts')}');
    const { existsSync, openSync } = await import('node:fs');
    const kick = EventFd.create();
    const adopted = EventFd.adopt(kick.fd);
    kick.signal();
    console.log(existsSync('/proc/self'), adopted.clear(), [
      kick.fd, createMemfd('x', 4096), UnixSocket.pair()[0].fd, 0, openSync('/dev/null'), openSync('/'),
    ].map(receivedKind).join());`;
  const shell =
    'mount -t tmpfs none /proc && exec "$0" --disable-warning=ExperimentalWarning --input-type=module -e "$1"';
  const { stdout, stderr } = spawnSync(
    'unshare',
    ['-m', 'sh', '-c', `true | { ${shell}; }`, process.execPath, program],
    {
      encoding: 'utf8',
    },
  );
  assert.equal(stdout, 'false true eventfd,memory,socket,pipe,other,other\n', stderr);
});

test('an eventfd and memory are closed at once', () => {
  const before = openFds();
  closeReceived(libc.eventfd(0, 0));
  closeReceived(createMemfd('memory', 4096));
  assert.equal(openFds(), before);
  assert.equal(closesPending(), 0);
});

test('everything else is closed too, and what is not open is no error', async () => {
  const pipe = await makePipe();
  const before = openFds() - 2;
  const [ours, theirs] = UnixSocket.pair();
  const fds = [
    pipe.readFd,
    pipe.writeFd,
    ours.fd,
    theirs.fd,
    newSocket(AF_INET, SOCK_STREAM),
    new Epoll().fd,
    openSync('/dev/null', 'r'),
    openSync(import.meta.filename, O_PATH),
  ];
  for (const fd of fds) closeReceived(fd);
  await allClosed();
  assert.equal(openFds(), before);
  for (const fd of [-1, 1_000_000]) closeReceived(fd);
  assert.equal(closesPending(), 0);
});

// In each of these tests, `closeFd` in place of the tested function would block for an hour.

test('regression: a TCP socket that lingers for an hour does not keep this thread', async () => {
  const { fd, peer } = await lingeringTcp();
  closeReceived(fd);
  assert.equal(closesPending(), 1);
  peer.destroy();
  await allClosed();
});

test('regression: neither does one in an unread message', async () => {
  const { fd, peer } = await lingeringTcp();
  const [ours, theirs] = UnixSocket.pair();
  theirs.send(Uint8Array.of(1), [fd]);
  closeFd(fd);
  closeReceived(ours.fd);
  theirs[Symbol.dispose]();
  assert.equal(closesPending(), 1);
  peer.destroy();
  await allClosed();
});

/** The threads of this process that no signal but SIGKILL and SIGSTOP can reach. */
function unreachableThreads(): number {
  const all = (1n << BigInt(constants.signals.SIGSYS)) - 1n;
  const never = (1n << BigInt(constants.signals.SIGKILL - 1)) | (1n << BigInt(constants.signals.SIGSTOP - 1));
  const blocked = readdirSync('/proc/self/task').map((thread) => {
    const status = readFileSync(`/proc/self/task/${thread}/status`, 'utf8');
    return BigInt(`0x${/SigBlk:\s*([0-9a-f]+)/.exec(status)?.[1]}`);
  });
  return blocked.filter((mask) => ((mask | never) & all) === all).length;
}

test('a thread that closes takes no signal of the process, and this one goes on taking them', async () => {
  const { fd, peer } = await lingeringTcp();
  const before = unreachableThreads();
  closeReceived(fd);
  assert.equal(unreachableThreads() - before, 1);
  peer.destroy();
  await allClosed();
});

test('a file is recognized and closed without a request to its server', { skip: noFuse }, async () => {
  await using files = await SilentFileSystem.mount();
  const fd = files.open();
  assert.equal(receivedKind(fd), 'other');
  assert.throws(() => EventFd.adopt(fd), { code: 'EINVAL', message: /a file or a device/ });
  closeReceived(fd);
  await files.requested(FUSE_FLUSH);
  assert.deepEqual(files.requests, [FUSE_INIT, FUSE_LOOKUP, FUSE_OPEN, FUSE_FLUSH]);
  assert.equal(closesPending(), 1, 'it is still being closed');
  await files.end();
  await allClosed();
});

test('past the limit a descriptor stays open, is counted and reported', { skip: noFuse }, async (t) => {
  const lines: string[] = [];
  reportLeaks((line) => lines.push(line));
  t.after(() => reportLeaks(() => {}));
  await using files = await SilentFileSystem.mount();
  const leakedBefore = leakedDescriptors();
  for (let i = 0; i < CLOSES_MAX; i++) closeReceived(files.open());
  assert.deepEqual([closesPending(), lines], [CLOSES_MAX, []]);
  const one = files.open();
  closeReceived(one);
  assert.equal(receivedKind(one), 'other', 'it is still open');
  assert.equal(leakedDescriptors() - leakedBefore, 1);
  assert.deepEqual(lines.length, 1);
  assert.match(
    lines[0] as string,
    /^256 descriptors that were received are still being closed: one more stays open, 1 so far$/,
  );
  await files.end();
  await allClosed();
  closeFd(one);
});
