// test/stress: no notification is lost between two threads that pause, poll and sleep at random; and the watcher would see it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stress } from '../../bench/stress/stress.ts';
import type { Mutation } from '../../bench/stress/stress-job.ts';
import { tellProgress } from '../progress.ts';

const REQUESTS = 1e6;
const seed = Math.floor(Math.random() * 2 ** 40);
/** It takes as long as it takes; the runner sees that it goes on. */
const UNHURRIED = { timeoutMs: Number.POSITIVE_INFINITY, onProgress: (line: string) => tellProgress(line) };

const mutants: readonly (readonly [mutation: Mutation, lost: string, what: string])[] = [
  ['driver-forgets', 'call', 'a driver that asks for calls and sleeps without a last look'],
  ['device-forgets', 'kick', 'a device that asks for kicks and sleeps without a last look'],
];

for (const [mutation, lost, what] of mutants) {
  test(`§2.7.10.1 the watcher catches ${what}, and reports both sides`, async () => {
    const { stall } = await stress({ requests: REQUESTS, seed, mutation, ...UNHURRIED });
    assert.equal(stall?.kind, lost, `seed ${seed}`);
    for (const says of [
      `lost ${lost}`,
      /used_event \d+/,
      /avail_event \d+/,
      /\d+ in flight/,
      /kicks \(last /,
      /pending: 0 kicks/,
    ])
      assert.match(stall?.report ?? '', new RegExp(says));
  });
}

test(`§2.7.10.1 ${REQUESTS} requests, with EVENT_IDX and without: no kick, no call and no request is lost`, async (t) => {
  const result = await stress({ requests: REQUESTS, seed, ...UNHURRIED });
  assert.equal(result.stall, undefined, `seed ${seed}\n${result.stall?.report}`);
  assert.ok(result.requests >= REQUESTS, `only ${result.requests} requests in ${result.seconds} s`);
  // Both sides really slept, and were really spared notifications.
  assert.ok(Math.min(result.driverSleeps, result.deviceSleeps) > 500, JSON.stringify(result));
  assert.ok(result.kicks < result.requests / 2 && result.calls < result.batches, JSON.stringify(result));
  t.diagnostic(JSON.stringify({ seed, ...result }));
});
