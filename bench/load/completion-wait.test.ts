// bench/load: a device that uses nothing is detected as stalled; a process that was stopped for a while is not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventFd } from '../../src/sys/event-fd.ts';
import { CompletionWait, StallError } from './completion-wait.ts';
import type { DriverRing } from './driver-ring.ts';

/** A ring whose `completed` returns 1 after `looks` calls. */
function ringThatTakes(looks: number): DriverRing {
  let left = looks;
  return { completed: () => (left-- > 0 ? 0 : 1), suppress: () => {}, rearm: () => 0 } as unknown as DriverRing;
}

/** A clock that advances by `stepMs` at each call. */
function clockOfSteps(stepMs: number): () => number {
  let nowMs = 0;
  return () => {
    nowMs += stepMs;
    return nowMs;
  };
}

test('nothing used for five seconds of polling is a stall', (t) => {
  t.mock.method(performance, 'now', clockOfSteps(100));
  using call = EventFd.create();
  using wait = new CompletionWait(ringThatTakes(1e9), 'poll', call.fd);
  assert.throws(() => wait.next(), StallError);
});

test('regression: a process that was stopped for minutes has not polled for minutes', (t) => {
  t.mock.method(performance, 'now', clockOfSteps(300_000));
  using call = EventFd.create();
  using wait = new CompletionWait(ringThatTakes(50_000), 'poll', call.fd);
  assert.equal(wait.next(), 1);
});

test('asleep, only a call ends the wait, and nothing used for five seconds is a stall', () => {
  using call = EventFd.create();
  using wait = new CompletionWait(ringThatTakes(1), 'call', call.fd);
  call.signal();
  assert.equal(wait.next(), 1);
  assert.equal(wait.calls, 1);
  using forgotten = new CompletionWait(ringThatTakes(2), 'call', call.fd);
  const startedMs = performance.now();
  assert.throws(() => forgotten.next(), /nothing used for 5 s; .*; no call is pending/);
  assert.ok(performance.now() - startedMs >= 4900);
});

test('a wait with a deadline returns 0 at the deadline, and what is used before it', () => {
  using call = EventFd.create();
  using wait = new CompletionWait(ringThatTakes(1e9), 'call', call.fd);
  const startMs = performance.now();
  assert.equal(wait.nextBefore(startMs - 1), 0);
  assert.equal(wait.nextBefore(startMs + 20), 0);
  assert.ok(performance.now() >= startMs + 20);
  using used = new CompletionWait(ringThatTakes(1), 'call', call.fd);
  call.signal();
  assert.equal(used.nextBefore(performance.now() + 3_600_000), 1);
  assert.equal(used.calls, 1);
});
