// The adaptive polling window: how it follows the waits that are reported to it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../testing/seeded-random.ts';
import { AdaptivePoll } from './adaptive-poll.ts';

const WAKE_COST_NS = 30_000;

/** Work that comes every `gapNs`, for `count` waits, as an event loop reports it. */
function work(policy: AdaptivePoll, gapNs: number, count: number): void {
  for (let i = 0; i < count; i++) policy.waited(gapNs, gapNs <= policy.pollNs());
}

test('it does not poll before there was any work', () => {
  assert.equal(new AdaptivePoll({ wakeCostNs: WAKE_COST_NS }).pollNs(), 0);
});

test('work that comes soon makes it poll for at least as long as that work takes to come', () => {
  for (const gapNs of [500, 5_000, 20_000, 60_000]) {
    const policy = new AdaptivePoll({ wakeCostNs: WAKE_COST_NS });
    work(policy, gapNs, 10);
    assert.ok(policy.pollNs() >= gapNs, `${policy.pollNs()} ns for work every ${gapNs} ns`);
    assert.ok(policy.pollNs() <= 4 * WAKE_COST_NS);
  }
});

test('polling that finds its work is left as it is', () => {
  const policy = new AdaptivePoll({ wakeCostNs: WAKE_COST_NS });
  work(policy, 20_000, 10);
  const window = policy.pollNs();
  work(policy, 20_000, 1000);
  assert.equal(policy.pollNs(), window);
});

test('work that no window would have waited for ends the polling, soon and for good', () => {
  const policy = new AdaptivePoll({ wakeCostNs: WAKE_COST_NS });
  work(policy, 20_000, 10);
  work(policy, 10_000_000, 8);
  assert.equal(policy.pollNs(), 0);
  work(policy, 10_000_000, 100);
  assert.equal(policy.pollNs(), 0);
});

test('one long wait among short ones does not end it', () => {
  const policy = new AdaptivePoll({ wakeCostNs: WAKE_COST_NS });
  work(policy, 20_000, 10);
  policy.waited(10_000_000, false);
  assert.ok(policy.pollNs() > 0);
  work(policy, 20_000, 10);
  assert.ok(policy.pollNs() >= 20_000);
});

test('the window is bounded by a few wake-ups, and absolutely, whatever is reported', () => {
  for (const wakeCostNs of [0, 1_000, 30_000, 1e9]) {
    const policy = new AdaptivePoll({ wakeCostNs });
    const random = new SeededRandom(wakeCostNs + 1);
    for (let i = 0; i < 10_000; i++) {
      policy.waited(2 ** random.below(40), random.flip());
      const window = policy.pollNs();
      assert.ok(window >= 0 && window <= Math.min(200_000, Math.max(8_000, 4 * wakeCostNs)), `${window}`);
    }
  }
});

test('after a preemption while it polls it does not poll for a while', () => {
  let preemptions = 5;
  const policy = new AdaptivePoll({ wakeCostNs: WAKE_COST_NS, preemptions: () => preemptions });
  work(policy, 20_000, 10);
  assert.ok(policy.pollNs() > 0);
  preemptions++;
  policy.waited(50_000, false);
  for (let i = 0; i < 20; i++) {
    assert.equal(policy.pollNs(), 0);
    policy.waited(20_000, false);
  }
  // Afterwards it polls again.
  work(policy, 20_000, 100);
  assert.ok(policy.pollNs() >= 20_000);
});

test('a preemption while it sleeps changes nothing', () => {
  let preemptions = 0;
  const policy = new AdaptivePoll({ wakeCostNs: WAKE_COST_NS, preemptions: () => preemptions });
  preemptions = 10;
  policy.waited(20_000, false);
  assert.ok(policy.pollNs() > 0);
});
