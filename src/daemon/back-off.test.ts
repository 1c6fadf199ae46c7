// How long a supervisor waits before it starts a device process again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackOff } from './back-off.ts';

test('the first failure costs no delay, further ones double it up to a limit', () => {
  const backOff = new BackOff({ firstMs: 100, longestMs: 500, goodMs: 1000 });
  const delays = Array.from({ length: 6 }, () => backOff.after(10));
  assert.deepEqual(delays, [0, 100, 200, 400, 500, 500]);
});

test('after a while of good service a failure is the first again', () => {
  const backOff = new BackOff({ firstMs: 100, longestMs: 500, goodMs: 1000 });
  for (let i = 0; i < 4; i++) backOff.after(999);
  assert.equal(backOff.after(1000), 0);
  assert.equal(backOff.after(0), 100);
});

test('thousands of failures keep the longest delay', () => {
  const backOff = new BackOff();
  const delays = Array.from({ length: 5000 }, () => backOff.after(0));
  assert.equal(delays.at(-1), 10_000);
});
