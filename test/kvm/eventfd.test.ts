// test/kvm: what an eventfd counts and which waiters it wakes, without KVM. eventfd(2), epoll(7).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventFd } from '../../src/sys/event-fd.ts';
import { check, libc } from '../../src/sys/libc.ts';
import { isReadable, takeCount, writeCount } from './event-count.ts';

const EFD_SEMAPHORE = 1;
const EFD_NONBLOCK = 0o4000;
const COUNT_MAX = 0xffff_ffff_ffff_fffen;

test('a read returns the sum and resets it; an empty one is EAGAIN', () => {
  using bell = EventFd.create();
  for (const count of [1n, 2n, 0x1_0000_0000n]) writeCount(bell, count);
  assert.equal(takeCount(bell), 0x1_0000_0003);
  assert.equal(takeCount(bell), 0);
  assert.equal(bell.clear(), false);
});

test('a semaphore gives one at a time', () => {
  using bell = EventFd.adopt(check(libc.eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK), 'eventfd'));
  assert.deepEqual([takeCount(bell), takeCount(bell), takeCount(bell), takeCount(bell)], [1, 1, 1, 0]);
});

test('the count ends at 2^64 - 2: what goes beyond is EAGAIN, and 2^64 - 1 is EINVAL', () => {
  using bell = EventFd.create();
  writeCount(bell, COUNT_MAX);
  assert.throws(() => writeCount(bell, 1n), { code: 'EAGAIN' });
  bell.signal();
  assert.ok(isReadable(bell), 'a ring of a full one is no error: its reader is awake');
  assert.throws(() => writeCount(bell, COUNT_MAX + 1n), { code: 'EINVAL' });
});

test('fewer than 8 bytes are EINVAL', () => {
  using bell = EventFd.create();
  assert.throws(() => writeCount(bell, 1n, 4), { code: 'EINVAL' });
});

test('a count stays readable until it is read', () => {
  using bell = EventFd.create();
  assert.equal(isReadable(bell), false);
  bell.signal();
  assert.equal(isReadable(bell), true);
  assert.equal(isReadable(bell), true, 'level-triggered');
  bell.clear();
  assert.equal(isReadable(bell), false);
});
