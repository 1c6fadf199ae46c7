// `--poll` as a policy, and the measured cost of a sleep.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureWakeCostNs, pollPolicy } from './poll-mode.ts';

test('off and 0 give no policy', () => {
  assert.equal(pollPolicy('off'), undefined);
  assert.equal(pollPolicy(0), undefined);
});

test('a number polls for that many microseconds, always', () => {
  const policy = pollPolicy(50);
  for (let i = 0; i < 3; i++) {
    assert.equal(policy?.pollNs(), 50_000);
    policy?.waited(1e9, false);
  }
});

test('auto begins without polling and learns', () => {
  const policy = pollPolicy('auto');
  assert.equal(policy?.pollNs(), 0);
  // Takes more rounds where other processes use this processor.
  for (let i = 0; i < 10_000 && policy?.pollNs() === 0; i++) policy.waited(1_000, false);
  assert.ok((policy?.pollNs() ?? 0) > 0);
});

test('the measured cost of a sleep is a finite number', () => {
  for (let i = 0; i < 3; i++) {
    const costNs = measureWakeCostNs();
    assert.ok(Number.isFinite(costNs) && costNs >= 0, `${costNs}`);
  }
});
