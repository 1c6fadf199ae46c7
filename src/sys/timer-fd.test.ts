// A timer as a descriptor.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Epoll } from './epoll.ts';
import { TimerFd } from './timer-fd.ts';

/** Waits for the timer, with a bound; returns its expirations. */
function waitFor(timer: TimerFd): number {
  using epoll = new Epoll();
  epoll.add(timer.fd, 1);
  assert.equal(epoll.wait(5000), 1, 'it never expired');
  return timer.expirations();
}

test('a timer expires once, not before its time', () => {
  using timer = new TimerFd();
  assert.equal(timer.expirations(), 0);
  const startedMs = performance.now();
  timer.set(10);
  assert.equal(timer.expirations(), 0);
  assert.equal(waitFor(timer), 1);
  assert.ok(performance.now() - startedMs >= 9.9);
  assert.equal(timer.expirations(), 0);
});

test('a timer with an interval counts expirations that were not read', async () => {
  using timer = new TimerFd();
  timer.set(1, 1);
  waitFor(timer);
  // Time: the test is about time. A late read counts more expirations.
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.ok(timer.expirations() >= 20);
  assert.ok(waitFor(timer) >= 1);
});

test('a delay of 0 disarms, and a new delay replaces the old one', () => {
  using timer = new TimerFd();
  using epoll = new Epoll();
  epoll.add(timer.fd, 1);
  timer.set(5, 5);
  timer.set(0);
  assert.equal(epoll.wait(30), 0);
  timer.set(60_000);
  timer.set(1);
  assert.equal(waitFor(timer), 1);
});

test('delays are exact below a millisecond and above a second', () => {
  using timer = new TimerFd();
  timer.set(0.01);
  assert.equal(waitFor(timer), 1);
  const startedMs = performance.now();
  timer.set(1001.5);
  assert.equal(waitFor(timer), 1);
  assert.ok(performance.now() - startedMs >= 1001.4);
});

test('regression: a delay that rounds up to a whole second is one', () => {
  using timer = new TimerFd();
  timer.set(999.9999999);
  assert.equal(waitFor(timer), 1);
});
