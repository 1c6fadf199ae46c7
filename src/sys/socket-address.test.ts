// Addresses of sockets, and which socket is the other end of a connection to a listener.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EventFd } from './event-fd.ts';
import { check, closeFd, duplicateFd, libc } from './libc.ts';
import { callScratch } from './scratch.ts';
import { isPeerOf, writeAddress } from './socket-address.ts';
import { newSocket } from './socket-file.ts';
import { SOCKET_PATH_MAX, UnixListener, UnixSocket } from './unix-socket.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-socket-address-'));
after(() => rmSync(folder, { recursive: true }));

let made = 0;
const freshPath = (): string => join(folder, `${++made}.sock`);
const openFds = (): number => readdirSync('/proc/self/fd').length;

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

test('a listener knows its address, also an inherited one, and the other end of a connection to it is recognized', () => {
  const path = freshPath();
  using listener = UnixListener.listen(path);
  using inherited = UnixListener.adopt(duplicateFd(listener.fd));
  assert.equal(new TextDecoder().decode(listener.address), `${path}\0`);
  assert.deepEqual(inherited.address, listener.address);
  using client = UnixSocket.connect(path);
  using accepted = listener.accept() as UnixSocket;
  assert.equal(isPeerOf(client.fd, listener.address), true, "the client's end");
  assert.equal(isPeerOf(accepted.fd, listener.address), false, 'our end');
  assert.equal(isPeerOf(listener.fd, listener.address), false);
});

test('other sockets, and what is no socket, are not the other end', () => {
  using listener = UnixListener.listen(freshPath());
  using other = UnixListener.listen(freshPath());
  using client = UnixSocket.connect(other.path as string);
  const [ours, theirs] = UnixSocket.pair();
  using eventFd = EventFd.create();
  for (const fd of [client.fd, ours.fd, theirs.fd, eventFd.fd, -1]) assert.equal(isPeerOf(fd, listener.address), false);
  assert.equal(isPeerOf(ours.fd, new Uint8Array(0)), false, 'neither is bound');
  for (const socket of [ours, theirs]) socket[Symbol.dispose]();
});

test('the same in the abstract namespace', () => {
  const name = `\0belfry-${process.pid}`;
  const fd = newSocket();
  check(libc.bind(fd, callScratch.address, writeAddress(name) - 1), 'bind');
  check(libc.listen(fd, 1), 'listen');
  using listener = UnixListener.adopt(fd);
  assert.equal(new TextDecoder().decode(listener.address), name);
  const client = newSocket();
  check(libc.connect(client, callScratch.address, writeAddress(name) - 1), 'connect');
  assert.equal(isPeerOf(client, listener.address), true);
  closeFd(client);
});
