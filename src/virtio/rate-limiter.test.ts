// A token bucket, on a clock of the test.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RateLimiter } from './rate-limiter.ts';

function limiterAt(perSecond: number, burstSeconds?: number): { limiter: RateLimiter; pass(ms: number): void } {
  let nowMs = 5000;
  const limiter = new RateLimiter(perSecond, burstSeconds, () => nowMs);
  const pass = (ms: number): void => {
    nowMs += ms;
  };
  return { limiter, pass };
}

test('it is full at first, fills at its rate, and holds no more than its burst', () => {
  const { limiter, pass } = limiterAt(1000, 2);
  assert.equal(limiter.tokens, 2000);
  limiter.take(1500);
  pass(100);
  assert.equal(limiter.tokens, 600);
  pass(10_000);
  assert.equal(limiter.tokens, 2000);
});

test('a debt is paid before there are tokens again', () => {
  const { limiter, pass } = limiterAt(1000);
  limiter.take(1500);
  assert.equal(limiter.tokens, -500);
  assert.equal(limiter.msUntil(1), 501);
  pass(501);
  assert.equal(limiter.msUntil(1), 0);
});

test('it holds one token however small the rate and the burst are, and a wait ends when that is there', () => {
  const { limiter, pass } = limiterAt(0.5, 0.01);
  assert.equal(limiter.size, 1);
  limiter.take(1);
  assert.equal(limiter.msUntil(1), 2000);
  pass(limiter.msUntil(1));
  assert.equal(limiter.msUntil(1), 0);
});
