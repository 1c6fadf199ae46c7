// The file of a listening socket: its mode, when it is replaced, and when it is removed.
import assert from 'node:assert/strict';
import {
  existsSync,
  fchmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeFd, libc } from './libc.ts';
import { bindFile, newSocket, removeSocketFile, type SocketFile } from './socket-file.ts';
import { UnixListener, UnixSocket } from './unix-socket.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-socket-file-'));
after(() => rmSync(folder, { recursive: true }));

let made = 0;
const freshPath = (): string => join(folder, `${++made}.sock`);
const openFds = (): number => readdirSync('/proc/self/fd').length;

test('the socket file has mode 0600 whatever the umask, and is removed with the listener', () => {
  const before = process.umask(0);
  const path = freshPath();
  {
    using _listener = UnixListener.listen(path);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  }
  process.umask(before);
  assert.ok(!existsSync(path));
});

test('regression: the file has its mode from the first moment, and a link put there meanwhile is not followed', () => {
  const before = process.umask(0);
  const path = freshPath();
  const fd = newSocket();
  fchmodSync(fd, 0o600);
  bindFile(fd, path);
  assert.equal(statSync(path).mode & 0o777, 0o600, 'before listen(2), and without chmod(2)');
  closeFd(fd);
  process.umask(before);
});

test('a file that was removed meanwhile is no problem at the end', () => {
  const path = freshPath();
  using _listener = UnixListener.listen(path);
  rmSync(path);
});

test("regression: a successor's socket at the same path stays when its predecessor ends", () => {
  const path = freshPath();
  const first = UnixListener.listen(path);
  rmSync(path);
  using second = UnixListener.listen(path);
  first[Symbol.dispose]();
  using _client = UnixSocket.connect(path);
  assert.ok(second.accept());
});

test('neither does it remove a file that is no socket, or one that it was renamed over', () => {
  const [path, elsewhere] = [freshPath(), freshPath()];
  const listener = UnixListener.listen(path);
  renameSync(path, elsewhere);
  writeFileSync(path, 'precious');
  listener[Symbol.dispose]();
  assert.equal(readFileSync(path, 'utf8'), 'precious');
  assert.ok(existsSync(elsewhere), 'its own file, under a name it does not know');
});

test('another thread can remove the file: it is plain data', () => {
  const path = freshPath();
  using listener = UnixListener.listen(path);
  const file = structuredClone(listener.file) as SocketFile;
  assert.equal(file.path, path);
  removeSocketFile(file);
  assert.ok(!existsSync(path));
  writeFileSync(path, 'new');
  removeSocketFile(file);
  assert.ok(existsSync(path));
});

test('regression: where it cannot listen, neither the descriptor nor the file stays', (t) => {
  const path = freshPath();
  const before = openFds();
  t.mock.method(libc, 'listen', () => -1);
  assert.throws(() => UnixListener.listen(path), { syscall: 'listen' });
  assert.equal(openFds(), before);
  assert.ok(!existsSync(path));
});

/** A stale socket file, as a killed process leaves it. */
function leaveStale(path: string): void {
  const listener = UnixListener.listen(path);
  // A listener that did not create the file does not remove it.
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

test('regression: checking whether a socket is bound adds no client, and works when its backlog is full', () => {
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
