// EventFd: counting, signalling a full one, and pipes and sockets in place of an eventfd.
import assert from 'node:assert/strict';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { makePipe } from '../testing/pipe.ts';
import { EventFd } from './event-fd.ts';
import { closeFd, duplicateFd, libc } from './libc.ts';
import { createMemfd } from './memfd.ts';
import { callScratch } from './scratch.ts';
import { UnixListener, UnixSocket } from './unix-socket.ts';

test('signals add up, and clear returns whether there was any', () => {
  using eventFd = EventFd.create();
  assert.equal(eventFd.clear(), false);
  for (let i = 0; i < 3; i++) eventFd.signal();
  assert.equal(eventFd.clear(), true);
  assert.equal(eventFd.clear(), false);
});

test('signalling a counter at its maximum does not block, and it stays signalled', () => {
  using eventFd = EventFd.create();
  callScratch.view.setBigUint64(0, 0xffff_ffff_ffff_fffen, true);
  // SAFETY: 8 bytes of this thread's scratch.
  assert.equal(libc.write(eventFd.fd, callScratch.address, 8n), 8);
  eventFd.signal();
  assert.equal(eventFd.clear(), true);
  assert.equal(eventFd.clear(), false);
});

test('a borrowed descriptor is the same counter', () => {
  using eventFd = EventFd.create();
  EventFd.borrow(eventFd.fd).signal();
  assert.ok(eventFd.clear());
});

test('a received eventfd is taken over and made non-blocking', () => {
  using ours = EventFd.create();
  using theirs = EventFd.adopt(duplicateFd(ours.fd));
  theirs.signal();
  assert.ok(ours.clear());
  const blocking = libc.eventfd(0, 0);
  using adopted = EventFd.adopt(blocking);
  // This would block for ever.
  assert.equal(adopted.clear(), false);
});

test("what cannot be an eventfd is refused, and stays the caller's", () => {
  for (const path of ['/dev/null', '/dev/zero', '/tmp', import.meta.filename]) {
    const fd = openSync(path, 'r');
    const message = 'eventfd: EINVAL: the descriptor is a file or a device: send an eventfd';
    assert.throws(() => EventFd.adopt(fd), { code: 'EINVAL', message });
    closeSync(fd);
  }
  const memfd = createMemfd('no eventfd', 4096);
  assert.throws(() => EventFd.adopt(memfd), { code: 'EINVAL', message: /the descriptor is a memfd/ });
  closeFd(memfd);
  assert.throws(() => EventFd.adopt(memfd), {
    code: 'EBADF',
    message: `fcntl: EBADF: descriptor ${memfd} is not open`,
  });
  assert.throws(() => EventFd.adopt(-1), { code: 'EBADF' });
});

test('a pipe works as an eventfd: one end signals, the other clears', async () => {
  const pipe = await makePipe();
  assert.match(readlinkSync(`/proc/self/fd/${pipe.readFd}`), /^pipe:/);
  using reader = EventFd.adopt(pipe.readFd);
  using writer = EventFd.adopt(pipe.writeFd);
  assert.equal(reader.clear(), false);
  writer.signal();
  writer.signal();
  assert.equal(reader.clear(), true);
  assert.equal(reader.clear(), true);
  assert.equal(reader.clear(), false);
  // A full pipe is readable, so the signal is not lost.
  for (let i = 0; i < 10_000; i++) writer.signal();
  assert.equal(reader.clear(), true);
});

test('a socket works as an eventfd in both directions', () => {
  const path = `/tmp/belfry-event-fd-${process.pid}.sock`;
  using listener = UnixListener.listen(path);
  using near = EventFd.adopt(UnixSocket.connect(path).fd);
  using far = EventFd.adopt((listener.accept() as UnixSocket).fd);
  near.signal();
  far.signal();
  assert.ok(near.clear() && far.clear());
  assert.ok(!near.clear() && !far.clear());
});

test('signalling a pipe without a reader is ignored', async () => {
  const { readFd, writeFd } = await makePipe();
  using writer = EventFd.adopt(writeFd);
  closeFd(readFd);
  // SIGPIPE would end the process.
  for (let i = 0; i < 100; i++) writer.signal();
});

test('regression: a pipe whose writer has gone throws: it would be readable, and empty, for ever', async () => {
  const { readFd, writeFd } = await makePipe();
  using reader = EventFd.adopt(readFd);
  assert.equal(reader.clear(), false); // leaves EAGAIN in errno, which the end of the pipe does not set
  closeFd(writeFd);
  assert.throws(() => reader.clear(), { name: 'SystemError', code: 'EPIPE' });
});

test('the end of a pipe that cannot be read throws', async () => {
  const { readFd, writeFd } = await makePipe();
  using _reader = EventFd.adopt(readFd);
  using writer = EventFd.adopt(writeFd);
  assert.throws(() => writer.clear(), { code: 'EBADF' });
});

test('regression: a signal of fewer than 8 bytes is a signal, and the queue goes on', async () => {
  const { readFd, writeFd } = await makePipe();
  using reader = EventFd.adopt(readFd);
  using writer = EventFd.adopt(writeFd);
  assert.equal(reader.clear(), false);
  for (const length of [1n, 3n, 7n, 9n]) {
    // SAFETY: bytes of this thread's scratch.
    libc.write(writer.fd, callScratch.address, length);
    assert.equal(reader.clear(), true, `${length} bytes`);
    if (length > 8n) assert.equal(reader.clear(), true, 'the rest');
    assert.equal(reader.clear(), false);
    writer.signal();
    assert.equal(reader.clear(), true);
  }
});

test('regression: a last signal before the end is not lost', async () => {
  const [ours, theirs] = UnixSocket.pair();
  using reader = EventFd.adopt(ours.fd);
  theirs.send(Uint8Array.of(1, 2, 3));
  assert.equal(reader.clear(), true);
  theirs[Symbol.dispose]();
  assert.throws(() => reader.clear(), { code: 'EPIPE', message: 'eventfd_read: EPIPE: the other end is gone' });
});

test('adopt can accept eventfds alone, since a pipe or socket can block its reader', async () => {
  const { readFd, writeFd } = await makePipe();
  const [ours, theirs] = UnixSocket.pair();
  for (const fd of [readFd, writeFd, ours.fd, theirs.fd])
    assert.throws(() => EventFd.adopt(fd, ['eventfd']), { code: 'EINVAL', message: /: send an eventfd$/ });
  using _call = EventFd.adopt(ours.fd, ['eventfd', 'socket']);
  using _kick = EventFd.adopt(duplicateFd(EventFd.create().fd), ['eventfd']);
  for (const fd of [readFd, writeFd, theirs.fd]) closeFd(fd);
});

test('regression: a socket that would send into a network is refused', () => {
  const AF_INET = 2;
  const SOCK_DGRAM = 2;
  const fd = libc.socket(AF_INET, SOCK_DGRAM, 0);
  assert.throws(() => EventFd.adopt(fd), { code: 'EINVAL', message: /a socket, but not a UNIX stream socket/ });
  closeFd(fd);
});
