// Sockets of the UNIX domain: bytes, descriptors, listening and connecting.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { lingeringTcp } from '../testing/lingering-tcp.ts';
import { closesPending } from './asynchronous-close.ts';
import {
  F_GETFD,
  F_GETFL,
  F_SETFL,
  FD_CLOEXEC,
  O_NONBLOCK,
  SCM_RIGHTS,
  SOCK_SEQPACKET,
  SOL_SOCKET,
} from './constants.ts';
import { Epoll } from './epoll.ts';
import { EventFd } from './event-fd.ts';
import { EventLoop } from './event-loop.ts';
import { check, closeFd, duplicateFd, libc } from './libc.ts';
import { closeReceived } from './received-fd.ts';
import { callScratch, Scratch } from './scratch.ts';
import { bindFile, newSocket } from './socket-file.ts';
import { UnixListener, UnixSocket } from './unix-socket.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-socket-'));
after(() => rmSync(folder, { recursive: true }));

let made = 0;
const freshPath = (): string => join(folder, `${++made}.sock`);

/** Two ends of one connection. */
function pair(): [UnixSocket, UnixSocket] {
  using listener = UnixListener.listen(freshPath());
  const near = UnixSocket.connect(join(folder, `${made}.sock`));
  return [near, listener.accept() as UnixSocket];
}

const MSG_OOB = 1;

/** Waits, turn by turn of Node's loop, until every close has ended: other threads do that, without an event. */
async function allClosed(): Promise<void> {
  while (closesPending() > 0) await new Promise(setImmediate);
}

const openFds = (): number => readdirSync('/proc/self/fd').length;
const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 7);

test('bytes arrive in order, in pieces as small as they are read', () => {
  const [near, far] = pair();
  assert.equal(far.receive(new Uint8Array(4), []), undefined);
  near.send(bytes(10));
  near.send(bytes(5));
  const into = new Uint8Array(15);
  for (const [at, length] of [
    [0, 1],
    [1, 7],
    [8, 7],
  ] as const)
    assert.equal(far.receive(into.subarray(at, at + length), []), length);
  assert.deepEqual(into, Uint8Array.of(...bytes(10), ...bytes(5)));
  assert.equal(far.receive(into, []), undefined);
  near[Symbol.dispose]();
  assert.equal(far.receive(into, []), 0, 'the end');
  assert.equal(far.receive(into, []), 0, 'still the end');
  far[Symbol.dispose]();
});

test('a pair is two ends of one connection', () => {
  const [near, far] = UnixSocket.pair();
  near.send(bytes(3));
  const into = new Uint8Array(4);
  assert.equal(far.receive(into, []), 3);
  assert.equal(far.receive(into, []), undefined, 'it does not block');
  far[Symbol.dispose]();
  assert.equal(near.receive(into, []), 0);
  near[Symbol.dispose]();
});

test('a long message is sent whole and received in several reads', () => {
  const [near, far] = pair();
  const long = bytes(28 * 1024);
  near.send(long);
  near.send(long);
  const into = new Uint8Array(2 * long.length);
  let done = 0;
  while (done < into.length) done += far.receive(into.subarray(done), []) ?? assert.fail('nothing there');
  assert.deepEqual(into.subarray(0, long.length), long);
  assert.deepEqual(into.subarray(long.length), long);
  near[Symbol.dispose]();
  far[Symbol.dispose]();
});

test('descriptors travel both ways, and are closed on exec where they arrive', () => {
  for (const count of [1, 2, 7, 64]) {
    const [near, far] = pair();
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      const eventFds = Array.from({ length: count }, () => EventFd.create());
      from.send(
        bytes(3),
        eventFds.map(({ fd }) => fd),
      );
      const fds: number[] = [];
      assert.equal(to.receive(new Uint8Array(3), fds), 3);
      assert.equal(fds.length, count);
      for (const [i, fd] of fds.entries()) {
        EventFd.borrow(fd).signal();
        assert.ok(eventFds[i]?.clear());
        assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+0?2\d{6}/, 'O_CLOEXEC');
        closeFd(fd);
      }
      for (const eventFd of eventFds) eventFd[Symbol.dispose]();
    }
    near[Symbol.dispose]();
    far[Symbol.dispose]();
  }
});

test('descriptors come with the first byte of their message, however little is read', () => {
  const [near, far] = pair();
  using eventFd = EventFd.create();
  near.send(bytes(4));
  near.send(bytes(4), [eventFd.fd]);
  const fds: number[] = [];
  assert.equal(far.receive(new Uint8Array(4), fds), 4);
  assert.equal(fds.length, 0);
  assert.equal(far.receive(new Uint8Array(1), fds), 1);
  assert.equal(fds.length, 1);
  assert.equal(far.receive(new Uint8Array(8), fds), 3);
  assert.equal(fds.length, 1);
  closeFd(fds[0] as number);
  near[Symbol.dispose]();
  far[Symbol.dispose]();
});

test('a read never reaches into a message that has descriptors of its own', () => {
  const [near, far] = pair();
  using first = EventFd.create();
  using second = EventFd.create();
  near.send(bytes(4), [first.fd]);
  near.send(bytes(4), [second.fd]);
  const fds: number[] = [];
  assert.equal(far.receive(new Uint8Array(100), fds), 4);
  assert.equal(fds.length, 1);
  for (const fd of fds) closeFd(fd);
  near[Symbol.dispose]();
  far[Symbol.dispose]();
});

test('more descriptors than anybody needs are an error, and none of them stays open unknown to the caller', async () => {
  const [near, far] = pair();
  using eventFd = EventFd.create();
  await allClosed();
  const before = openFds();
  near.send(
    bytes(1),
    Array.from({ length: 200 }, () => eventFd.fd),
  );
  const fds: number[] = [];
  assert.throws(() => far.receive(new Uint8Array(1), fds), { code: 'EMSGSIZE' });
  for (const fd of fds) closeFd(fd);
  assert.equal(openFds(), before);
  near[Symbol.dispose]();
  far[Symbol.dispose]();
});

test('regression: descriptors are found behind the credentials of the peer, as with PassCredentials= of systemd', () => {
  const SO_PASSCRED = 16;
  const [near, far] = pair();
  const one = new Scratch(4);
  one.view.setInt32(0, 1, true);
  // SAFETY: setsockopt(2) reads four bytes of a scratch that is disposed below.
  assert.equal(libc.setsockopt(far.fd, SOL_SOCKET, SO_PASSCRED, one.address, 4), 0);
  one[Symbol.dispose]();
  for (const count of [0, 1, 3, 64]) {
    const eventFds = Array.from({ length: count }, () => EventFd.create());
    near.send(
      bytes(3),
      eventFds.map(({ fd }) => fd),
    );
    const fds: number[] = [];
    assert.equal(far.receive(new Uint8Array(3), fds), 3);
    assert.equal(fds.length, count);
    for (const [i, fd] of fds.entries()) {
      EventFd.borrow(fd).signal();
      assert.ok(eventFds[i]?.clear());
      closeFd(fd);
    }
    for (const eventFd of eventFds) eventFd[Symbol.dispose]();
  }
  near[Symbol.dispose]();
  far[Symbol.dispose]();
});

test('a peer that does not read is an error, not a wait', () => {
  const [near, far] = pair();
  assert.throws(
    () => {
      for (let i = 0; i < 1000; i++) near.send(bytes(20_000));
    },
    { code: 'EAGAIN', syscall: 'sendmsg' },
  );
  near[Symbol.dispose]();
  far[Symbol.dispose]();
});

test('sending to a peer that has left is EPIPE', () => {
  const [near, far] = pair();
  far[Symbol.dispose]();
  assert.throws(() => near.send(bytes(1)), { code: 'EPIPE' });
  near[Symbol.dispose]();
});

test('disposing twice closes once', () => {
  const [near, far] = pair();
  far[Symbol.dispose]();
  near[Symbol.dispose]();
  // One of these gets the number that was just closed.
  const others = [1, 2, 3].map(() => openSync('/dev/null', 'r'));
  assert.ok(others.includes(near.fd));
  near[Symbol.dispose]();
  for (const fd of others) closeSync(fd);
});

test('connecting where nobody listens says so', () => {
  const path = freshPath();
  assert.throws(() => UnixSocket.connect(path), { code: 'ENOENT', message: `connect: ENOENT: ${path}` });
  writeFileSync(path, '');
  assert.throws(() => UnixSocket.connect(path), { code: 'ECONNREFUSED' });
});

test('clients are accepted in order, undefined when there is none', () => {
  const path = freshPath();
  using listener = UnixListener.listen(path);
  assert.equal(listener.accept(), undefined);
  const clients = [1, 2, 3].map((n) => {
    const client = UnixSocket.connect(path);
    client.send(Uint8Array.of(n));
    return client;
  });
  for (const n of [1, 2, 3]) {
    using accepted = listener.accept() as UnixSocket;
    const into = new Uint8Array(1);
    accepted.receive(into, []);
    assert.equal(into[0], n);
  }
  for (const client of clients) client[Symbol.dispose]();
});

test('a client beyond the backlog is refused at once', () => {
  const path = freshPath();
  using _listener = UnixListener.listen(path);
  const clients: UnixSocket[] = [];
  assert.throws(
    () => {
      for (let i = 0; i < 20; i++) clients.push(UnixSocket.connect(path));
    },
    { code: 'EAGAIN' },
  );
  assert.ok(clients.length >= 8);
  for (const client of clients) client[Symbol.dispose]();
});

test('nothing that fails leaves a descriptor open', async () => {
  await allClosed();
  const before = openFds();
  const path = freshPath();
  writeFileSync(path, '');
  for (const attempt of [
    () => UnixListener.listen(path),
    () => UnixListener.listen(join(folder, 'nowhere', 'a.sock')),
    () => UnixSocket.connect(path),
    () => UnixSocket.connect(freshPath()),
  ])
    assert.throws(attempt);
  assert.equal(openFds(), before);
});

test('an exit of the process that connected makes a descriptor readable', async (t) => {
  const path = freshPath();
  using listener = UnixListener.listen(path);
  const program = `require('node:net').connect(${JSON.stringify(path)}); process.stdin.resume().on('end', process.exit);`;
  const client = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'ignore', 'inherit'] });
  using loop = new EventLoop();
  let accepted: UnixSocket | undefined;
  loop.watch(listener.fd, {
    readable: () => {
      accepted = listener.accept();
      loop.stop();
    },
  });
  await loop.run();
  using socket = accepted as UnixSocket;
  const pidFd = socket.peerPidFd();
  if (pidFd === undefined) {
    client.kill();
    return t.skip('the kernel has no SO_PEERPIDFD (Linux 6.5)');
  }
  using epoll = new Epoll();
  epoll.add(pidFd, 1);
  assert.equal(epoll.wait(0), 0, 'it lives');
  client.stdin.end();
  await once(client, 'exit');
  assert.equal(epoll.wait(0), 1);
  closeFd(pidFd);
});

/** A TCP socket that lingers, in a message of `flags` that `far` sends: close(2) of it blocks for an hour. */
async function sendLingering(far: UnixSocket, flags = 0): Promise<Socket> {
  const { fd, peer } = await lingeringTcp();
  const { view, address, bytes } = callScratch;
  bytes.fill(0, 0, 128);
  view.setBigUint64(16, address + 64n, true);
  view.setBigUint64(24, 1n, true);
  view.setBigUint64(32, address + 80n, true);
  view.setBigUint64(40, 24n, true);
  view.setBigUint64(64, address + 128n, true);
  view.setBigUint64(72, 1n, true);
  view.setBigUint64(80, 20n, true);
  view.setInt32(88, SOL_SOCKET, true);
  view.setInt32(92, SCM_RIGHTS, true);
  view.setInt32(96, fd, true);
  // SAFETY: struct msghdr, an iovec at 64, a cmsghdr at 80 and one byte at 128 of this thread's scratch.
  check(libc.sendmsg(far.fd, address, flags), 'sendmsg');
  closeFd(fd);
  return peer;
}

// In the next four tests, close(2) or recvmsg(2) in this thread would block for an hour.

test('regression: a connection with descriptors in an unread message is closed at once', async () => {
  const [near, far] = pair();
  const peer = await sendLingering(far);
  near[Symbol.dispose]();
  assert.equal(closesPending(), 1);
  assert.throws(() => far.send(Uint8Array.of(1)), { code: 'EPIPE' }, 'the other end is told at once');
  peer.destroy();
  await allClosed();
  far[Symbol.dispose]();
});

test('regression: descriptors that come with an out-of-band byte are received, not closed inside of recvmsg', async () => {
  const [near, far] = pair();
  const peer = await sendLingering(far, MSG_OOB);
  const fds: number[] = [];
  assert.equal(near.receive(new Uint8Array(8), fds), 1);
  assert.equal(fds.length, 1);
  for (const fd of fds) closeReceived(fd);
  peer.destroy();
  await allClosed();
  for (const socket of [near, far]) socket[Symbol.dispose]();
});

test('regression: a client with such a message that was never accepted does not keep the end of its listener', async () => {
  const listener = UnixListener.listen(freshPath());
  const client = UnixSocket.connect(listener.path as string);
  const peer = await sendLingering(client);
  client[Symbol.dispose]();
  listener[Symbol.dispose]();
  assert.equal(closesPending(), 1);
  peer.destroy();
  await allClosed();
});

test('regression: an end that was received is closed without a question to its sender', async () => {
  const [ours, theirs] = UnixSocket.pair();
  const peer = await sendLingering(ours);
  const adopted = UnixSocket.adopt(theirs.fd);
  ours[Symbol.dispose]();
  adopted[Symbol.dispose]();
  assert.equal(closesPending(), 1);
  peer.destroy();
  await allClosed();
});

test('an end that is passed on stays connected when its maker disposes it', () => {
  const [ours, theirs] = UnixSocket.pair();
  const passed = new UnixSocket(duplicateFd(theirs.fd));
  theirs[Symbol.dispose]();
  passed.send(bytes(3));
  assert.equal(ours.receive(new Uint8Array(3), []), 3);
  passed[Symbol.dispose]();
  assert.equal(ours.receive(new Uint8Array(3), []), 0);
  ours[Symbol.dispose]();
});

test('what is no stream socket cannot be taken over as one', () => {
  using eventFd = EventFd.create();
  const message = 'getsockopt: EINVAL: the descriptor is an eventfd: send a UNIX stream socket';
  assert.throws(() => UnixSocket.adopt(eventFd.fd), { code: 'EINVAL', message });
  assert.throws(() => UnixSocket.adopt(-1), { code: 'EBADF' });
});

test('regression: descriptors that do not fit into the table are EMFILE with advice, and none stays open', () => {
  const program = `
    const { UnixSocket } = await import(${JSON.stringify(new URL('unix-socket.ts', import.meta.url).href)});
    const { EventFd } = await import(${JSON.stringify(new URL('event-fd.ts', import.meta.url).href)});
    const { readdirSync, openSync, closeSync } = await import('node:fs');
    const [near, far] = UnixSocket.pair();
    const eventFd = EventFd.create();
    far.send(Uint8Array.of(1), Array.from({ length: 10 }, () => eventFd.fd));
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    const filling = [];
    for (;;) try { filling.push(openSync('/dev/null')); } catch { break; }
    for (const fd of filling.splice(-3)) closeSync(fd);
    const fds = [];
    let line;
    try { near.receive(new Uint8Array(1), fds); } catch ({ message }) { line = message; }
    for (const fd of filling) closeSync(fd);
    const left = open() - before;
    console.log(line, fds.length, left);`;
  const shell = 'ulimit -n 64; exec "$0" --disable-warning=ExperimentalWarning --input-type=module -e "$1"';
  const { stdout, stderr } = spawnSync('sh', ['-c', shell, process.execPath, program], { encoding: 'utf8' });
  const line = 'recvmsg: EMFILE: no room for received descriptors: raise the limit (ulimit -n)';
  assert.equal(stdout, `${line} 0 0\n`, stderr);
});

test('an inherited listening socket is taken over, and its file is not removed', () => {
  const path = freshPath();
  using original = UnixListener.listen(path);
  {
    using inherited = UnixListener.adopt(duplicateFd(original.fd));
    using _client = UnixSocket.connect(path);
    assert.ok(inherited.accept());
  }
  assert.ok(existsSync(path));
});

test('regression: an inherited socket becomes non-blocking and is closed on exec, or accept would wait for a client', () => {
  const path = freshPath();
  using original = UnixListener.listen(path);
  const fd = check(libc.fcntl(original.fd, 0, 0), 'fcntl'); // F_DUPFD
  check(libc.fcntl(fd, F_SETFL, 0), 'fcntl');
  assert.equal(libc.fcntl(original.fd, F_GETFL, 0) & O_NONBLOCK, 0, 'systemd makes it so');
  using inherited = UnixListener.adopt(fd);
  assert.equal(libc.fcntl(fd, F_GETFD, 0), FD_CLOEXEC);
  assert.equal(inherited.accept(), undefined);
});

test('regression: a listening socket of another type cannot be inherited', () => {
  const fd = newSocket(SOCK_SEQPACKET);
  bindFile(fd, freshPath());
  check(libc.listen(fd, 1), 'listen');
  assert.throws(() => UnixListener.adopt(fd), { code: 'EINVAL', message: /is not a stream socket/ });
  closeFd(fd);
});

test('what is no listening UNIX socket cannot be inherited', async () => {
  const file = openSync('/dev/null', 'r');
  assert.throws(() => UnixListener.adopt(file), { code: 'ENOTSOCK', message: /is not an inherited socket/ });
  closeSync(file);
  assert.throws(() => UnixListener.adopt(file), { code: 'EBADF' });
  const [near, far] = pair();
  assert.throws(() => UnixListener.adopt(near.fd), { code: 'EINVAL', message: /is not a listening socket/ });
  near[Symbol.dispose]();
  far[Symbol.dispose]();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  assert.throws(() => UnixListener.adopt(fd), { code: 'EINVAL', message: /is not a UNIX socket/ });
  server.close();
});
