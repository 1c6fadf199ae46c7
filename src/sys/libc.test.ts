// libc: errors of system calls, and calls that stay correct while the garbage collector runs.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { EventFd } from './event-fd.ts';
import {
  check,
  checkOrAgain,
  clearErrno,
  closeFd,
  duplicateFd,
  errno,
  libc,
  SystemError,
  systemError,
} from './libc.ts';
import { callScratch } from './scratch.ts';
import { TimerFd } from './timer-fd.ts';
import { UnixListener, UnixSocket } from './unix-socket.ts';

test('a SystemError has the call, the name of the error and the advice', () => {
  const error = new SystemError('mmap', 'ENOMEM', 'buy more');
  assert.ok(error instanceof Error);
  assert.deepEqual(
    { name: error.name, code: error.code, syscall: error.syscall, message: error.message },
    { name: 'SystemError', code: 'ENOMEM', syscall: 'mmap', message: 'mmap: ENOMEM: buy more' },
  );
  assert.equal(new SystemError('mmap', 'ENOMEM').message, 'mmap: ENOMEM');
});

test('where a descriptor is missing every call says what to do', () => {
  assert.equal(
    new SystemError('socket', 'EMFILE').message,
    'socket: EMFILE: raise the limit of open files (ulimit -n)',
  );
});

test('check passes a result through, and throws what errno says', () => {
  assert.equal(check(0, 'close'), 0);
  assert.equal(check(17, 'close'), 17);
  const refusal = { code: 'EBADF', syscall: 'close', message: 'close: EBADF: it was closed before' };
  assert.throws(() => check(libc.close(-1), 'close', 'it was closed before'), refusal);
  assert.throws(() => check(libc.listen(0, 1), 'listen'), { message: /^listen: E/ });
});

test('checkOrAgain gives undefined where a call has to be tried again, and throws otherwise', () => {
  using eventFd = EventFd.create();
  assert.equal(checkOrAgain(3, 'read'), 3);
  // SAFETY: 8 bytes of this thread's scratch, here and below.
  assert.equal(checkOrAgain(libc.read(eventFd.fd, callScratch.address, 8n), 'read'), undefined);
  assert.throws(() => checkOrAgain(libc.read(-1, callScratch.address, 8n), 'read'), { code: 'EBADF' });
  assert.throws(() => checkOrAgain(libc.read(eventFd.fd, callScratch.address, 4n), 'read'), { code: 'EINVAL' });
});

test('regression: EAGAIN is called EAGAIN, not by its other name', () => {
  using eventFd = EventFd.create();
  libc.read(eventFd.fd, callScratch.address, 8n);
  assert.equal(systemError('read').code, 'EAGAIN');
});

test('errno is that of the last call that failed, until it is cleared', () => {
  libc.close(-1);
  const badFd = errno();
  assert.ok(badFd > 0);
  libc.close(EventFd.create().fd);
  assert.equal(errno(), badFd);
  clearErrno();
  assert.equal(errno(), 0);
});

test('a duplicate is the same file under another number', () => {
  using eventFd = EventFd.create();
  const fd = duplicateFd(eventFd.fd);
  assert.notEqual(fd, eventFd.fd);
  EventFd.borrow(fd).signal();
  assert.ok(eventFd.clear());
  closeFd(fd);
  assert.throws(() => duplicateFd(fd), { code: 'EBADF', message: `fcntl: EBADF: descriptor ${fd}` });
});

test('thousands of calls stay right while the collector runs', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options?: { type: 'minor' | 'major' }) => void;
  const path = `/tmp/belfry-libc-${process.pid}.sock`;
  using listener = UnixListener.listen(path);
  using near = UnixSocket.connect(path);
  using far = listener.accept() as UnixSocket;
  using timer = new TimerFd();
  using eventFd = EventFd.create();
  const openFds = readdirSync('/proc/self/fd').length;
  const rubbish: Uint8Array[] = [];
  for (let i = 0; i < 6000; i++) {
    rubbish[i % 64] = new Uint8Array(i % 60).fill(i);
    if (i % 20 === 0) collect({ type: i % 400 === 0 ? 'major' : 'minor' });
    const sent = Uint8Array.of(i, i >> 8, 3, 4, 5, 6);
    near.send(sent, i % 7 === 0 ? [eventFd.fd] : []);
    const received = new Uint8Array(6);
    const fds: number[] = [];
    assert.equal(far.receive(received, fds), 6);
    assert.deepEqual(received, sent);
    for (const fd of fds) {
      EventFd.borrow(fd).signal();
      closeFd(fd);
    }
    assert.equal(eventFd.clear(), fds.length === 1);
    timer.set(60_000);
    assert.equal(timer.expirations(), 0);
    assert.equal(
      rubbish[i % 64]?.every((byte) => byte === (i & 0xff)),
      true,
    );
  }
  assert.equal(readdirSync('/proc/self/fd').length, openFds);
});
