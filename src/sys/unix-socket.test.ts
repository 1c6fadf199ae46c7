// Sockets of the UNIX domain: bytes, descriptors, and who may listen where.
import assert from 'node:assert/strict';
import { DynamicLibrary } from 'node:ffi';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { SOL_SOCKET } from './constants.ts';
import { EventFd } from './event-fd.ts';
import { closeFd, duplicateFd } from './libc.ts';
import { Scratch } from './scratch.ts';
import { SOCKET_PATH_MAX, UnixListener, UnixSocket } from './unix-socket.ts';

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
      const bells = Array.from({ length: count }, () => EventFd.create());
      from.send(
        bytes(3),
        bells.map(({ fd }) => fd),
      );
      const fds: number[] = [];
      assert.equal(to.receive(new Uint8Array(3), fds), 3);
      assert.equal(fds.length, count);
      for (const [i, fd] of fds.entries()) {
        EventFd.borrow(fd).signal();
        assert.ok(bells[i]?.clear());
        assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+0?2\d{6}/, 'O_CLOEXEC');
        closeFd(fd);
      }
      for (const bell of bells) bell[Symbol.dispose]();
    }
    near[Symbol.dispose]();
    far[Symbol.dispose]();
  }
});

test('descriptors come with the first byte of their message, however little is read', () => {
  const [near, far] = pair();
  using bell = EventFd.create();
  near.send(bytes(4));
  near.send(bytes(4), [bell.fd]);
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

test('more descriptors than anybody needs are an error, and none of them stays open unknown to the caller', () => {
  const [near, far] = pair();
  using bell = EventFd.create();
  const before = openFds();
  near.send(
    bytes(1),
    Array.from({ length: 200 }, () => bell.fd),
  );
  const fds: number[] = [];
  assert.throws(() => far.receive(new Uint8Array(1), fds), { code: 'EMSGSIZE' });
  for (const fd of fds) closeFd(fd);
  assert.equal(openFds(), before);
  near[Symbol.dispose]();
  far[Symbol.dispose]();
});

test('regression: descriptors are found behind what a socket tells of its peer, as with PassCredentials= of systemd', () => {
  const SO_PASSCRED = 16;
  const [near, far] = pair();
  const one = new Scratch(4);
  one.view.setInt32(0, 1, true);
  // SAFETY: setsockopt(2) reads four bytes of a scratch that is disposed below.
  const { setsockopt } = new DynamicLibrary(null).getFunctions({
    setsockopt: { return: 'int32', arguments: ['int32', 'int32', 'int32', 'pointer', 'uint32'] },
  });
  assert.equal(setsockopt(far.fd, SOL_SOCKET, SO_PASSCRED, one.address, 4), 0);
  one[Symbol.dispose]();
  for (const count of [0, 1, 3, 64]) {
    const bells = Array.from({ length: count }, () => EventFd.create());
    near.send(
      bytes(3),
      bells.map(({ fd }) => fd),
    );
    const fds: number[] = [];
    assert.equal(far.receive(new Uint8Array(3), fds), 3);
    assert.equal(fds.length, count);
    for (const [i, fd] of fds.entries()) {
      EventFd.borrow(fd).signal();
      assert.ok(bells[i]?.clear());
      closeFd(fd);
    }
    for (const bell of bells) bell[Symbol.dispose]();
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
  // One of these gets the number that was just given back.
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

test('a client too many is told so at once', () => {
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

test('the socket file has mode 0600 whatever the umask, and goes with the listener', () => {
  const before = process.umask(0);
  const path = freshPath();
  {
    using _listener = UnixListener.listen(path);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  }
  process.umask(before);
  assert.ok(!existsSync(path));
});

test('a file that was removed meanwhile is no problem at the end', () => {
  const path = freshPath();
  using _listener = UnixListener.listen(path);
  rmSync(path);
});

/** A socket file that nobody listens on any more, as a killed process leaves it. */
function leaveStale(path: string): void {
  const listener = UnixListener.listen(path);
  // The file outlives a listener that did not make it.
  closeFd(listener.fd);
}

test('a stale socket file is replaced', () => {
  const path = freshPath();
  leaveStale(path);
  assert.ok(statSync(path).isSocket());
  using listener = UnixListener.listen(path);
  using _client = UnixSocket.connect(path);
  assert.ok(listener.accept());
});

test('a live socket is refused, and goes on', () => {
  const path = freshPath();
  using listener = UnixListener.listen(path);
  const refusal = { code: 'EADDRINUSE', message: `bind: EADDRINUSE: ${path}: another process serves it` };
  assert.throws(() => UnixListener.listen(path), refusal);
  using _client = UnixSocket.connect(path);
  assert.ok(listener.accept());
});

test('regression: looking whether a socket is alive is no client to it, and works when its backlog is full', () => {
  const path = freshPath();
  using listener = UnixListener.listen(path);
  for (let i = 0; i < 20; i++) assert.throws(() => UnixListener.listen(path), { code: 'EADDRINUSE' });
  assert.equal(listener.accept(), undefined);
  const clients: UnixSocket[] = [];
  assert.throws(() => {
    for (;;) clients.push(UnixSocket.connect(path));
  });
  assert.throws(() => UnixListener.listen(path), { code: 'EADDRINUSE' });
  for (const client of clients) client[Symbol.dispose]();
});

test('what is no socket is left alone', () => {
  const file = freshPath();
  writeFileSync(file, 'precious');
  assert.throws(() => UnixListener.listen(file), {
    code: 'EEXIST',
    message: `bind: EEXIST: ${file} exists and is not a socket`,
  });
  assert.equal(readFileSync(file, 'utf8'), 'precious');
  const directory = freshPath();
  mkdirSync(directory);
  assert.throws(() => UnixListener.listen(directory), { code: 'EEXIST' });
  const link = freshPath();
  symlinkSync(file, link);
  assert.throws(() => UnixListener.listen(link), { code: 'EEXIST' });
});

test('a missing folder is named', () => {
  const path = join(folder, 'nowhere', 'disk.sock');
  assert.throws(() => UnixListener.listen(path), { code: 'ENOENT', message: /does the folder .*nowhere exist/ });
});

test('a path may have 107 bytes, not 108', () => {
  const before = openFds();
  const base = join(folder, 'é');
  const longest = base.padEnd(SOCKET_PATH_MAX - 1, 'x'); // é has two bytes
  {
    using _listener = UnixListener.listen(longest);
    assert.ok(existsSync(longest));
    using _client = UnixSocket.connect(longest);
  }
  const refusal = { code: 'ENAMETOOLONG', message: /at most 107 bytes, this one has 108/ };
  assert.throws(() => UnixListener.listen(`${longest}x`), refusal);
  assert.throws(() => UnixSocket.connect(`${longest}x`), refusal);
  assert.equal(openFds(), before);
});

test('nothing that fails leaves a descriptor open', () => {
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

test('an inherited listening socket is taken over, and its file left to who made it', () => {
  const path = freshPath();
  using original = UnixListener.listen(path);
  {
    using inherited = UnixListener.adopt(duplicateFd(original.fd));
    using _client = UnixSocket.connect(path);
    assert.ok(inherited.accept());
  }
  assert.ok(existsSync(path));
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
