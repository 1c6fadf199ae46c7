// An epoll set: a descriptor is reported for as long as it is readable.
import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { test } from 'node:test';
import { Epoll } from './epoll.ts';
import { EventFd } from './event-fd.ts';
import { closeFd } from './libc.ts';

/** The tokens of the descriptors that are readable now. */
function readable(epoll: Epoll): number[] {
  const count = epoll.wait(0);
  return Array.from({ length: count }, (_, i) => epoll.token(i)).sort((a, b) => a - b);
}

test('a readable descriptor is reported with its token, again and again', () => {
  using epoll = new Epoll();
  using first = EventFd.create();
  using second = EventFd.create();
  epoll.add(first.fd, 7);
  epoll.add(second.fd, 0xffff_ffff);
  assert.deepEqual(readable(epoll), []);
  second.signal();
  for (let i = 0; i < 3; i++) assert.deepEqual(readable(epoll), [0xffff_ffff]);
  first.signal();
  assert.deepEqual(readable(epoll), [7, 0xffff_ffff]);
  second.clear();
  assert.deepEqual(readable(epoll), [7]);
  epoll.remove(first.fd);
  assert.deepEqual(readable(epoll), []);
});

test('of many readable descriptors each is reported', () => {
  using epoll = new Epoll();
  const eventFds = Array.from({ length: 200 }, () => EventFd.create());
  for (const [i, eventFd] of eventFds.entries()) {
    epoll.add(eventFd.fd, i);
    eventFd.signal();
  }
  const reported = new Set<number>();
  for (let tries = 0; reported.size < eventFds.length && tries < 50; tries++) {
    for (const token of readable(epoll)) {
      reported.add(token);
      eventFds[token]?.clear();
    }
  }
  assert.equal(reported.size, eventFds.length);
  for (const eventFd of eventFds) eventFd[Symbol.dispose]();
});

test('a closed descriptor is removed already, and removing it again is no error', () => {
  using epoll = new Epoll();
  const eventFd = EventFd.create();
  eventFd.signal();
  epoll.add(eventFd.fd, 1);
  eventFd[Symbol.dispose]();
  assert.deepEqual(readable(epoll), []);
  epoll.remove(eventFd.fd);
});

test('waiting ends when its time is up', () => {
  using epoll = new Epoll();
  const startedMs = performance.now();
  assert.equal(epoll.wait(20), 0);
  assert.ok(performance.now() - startedMs >= 19);
});

test('what cannot be watched is refused by number', () => {
  using epoll = new Epoll();
  using eventFd = EventFd.create();
  epoll.add(eventFd.fd, 1);
  assert.throws(() => epoll.add(eventFd.fd, 2), { code: 'EEXIST' });
  const file = openSync(import.meta.filename, 'r');
  const refusal = { code: 'EPERM', message: `epoll_ctl: EPERM: descriptor ${file} cannot be watched` };
  assert.throws(() => epoll.add(file, 3), refusal);
  closeFd(file);
  assert.throws(() => epoll.add(file, 3), { code: 'EBADF' });
});
