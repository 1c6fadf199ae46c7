// An epoll set: what is readable is told again until it no longer is.
import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { test } from 'node:test';
import { Epoll } from './epoll.ts';
import { EventFd } from './event-fd.ts';
import { closeFd } from './libc.ts';

/** The tokens of what is readable now. */
function readable(epoll: Epoll): number[] {
  const count = epoll.wait(0);
  return Array.from({ length: count }, (_, i) => epoll.token(i)).sort((a, b) => a - b);
}

test('what is readable is told with its token, again and again', () => {
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

test('of many that are readable nobody is forgotten', () => {
  using epoll = new Epoll();
  const bells = Array.from({ length: 200 }, () => EventFd.create());
  for (const [i, bell] of bells.entries()) {
    epoll.add(bell.fd, i);
    bell.signal();
  }
  const told = new Set<number>();
  for (let tries = 0; told.size < bells.length && tries < 50; tries++) {
    for (const token of readable(epoll)) {
      told.add(token);
      bells[token]?.clear();
    }
  }
  assert.equal(told.size, bells.length);
  for (const bell of bells) bell[Symbol.dispose]();
});

test('a descriptor that was closed forgets itself, and removing it harms nobody', () => {
  using epoll = new Epoll();
  const bell = EventFd.create();
  bell.signal();
  epoll.add(bell.fd, 1);
  bell[Symbol.dispose]();
  assert.deepEqual(readable(epoll), []);
  epoll.remove(bell.fd);
});

test('waiting ends when its time is up', () => {
  using epoll = new Epoll();
  const startedMs = performance.now();
  assert.equal(epoll.wait(20), 0);
  assert.ok(performance.now() - startedMs >= 19);
});

test('what cannot be watched is refused by number', () => {
  using epoll = new Epoll();
  using bell = EventFd.create();
  epoll.add(bell.fd, 1);
  assert.throws(() => epoll.add(bell.fd, 2), { code: 'EEXIST' });
  const file = openSync(import.meta.filename, 'r');
  const refusal = { code: 'EPERM', message: `epoll_ctl: EPERM: descriptor ${file} cannot be watched` };
  assert.throws(() => epoll.add(file, 3), refusal);
  closeFd(file);
  assert.throws(() => epoll.add(file, 3), { code: 'EBADF' });
});
