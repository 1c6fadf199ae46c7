// Limits grow with the slowness of the machine, and a wait that times out names its event.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eventually, patience, Silence, SLOWNESS_MAX, SLOWNESS_VARIABLE, slowness } from './patience.ts';

function withSlowness(t: TestContext, value: string | undefined): void {
  const before = process.env[SLOWNESS_VARIABLE];
  const set = (to: string | undefined): void => {
    if (to === undefined) delete process.env[SLOWNESS_VARIABLE];
    else process.env[SLOWNESS_VARIABLE] = to;
  };
  set(value);
  t.after(() => set(before));
}

/** A clock that advances by `stepMs` at each reading. */
function clockOfSteps(t: TestContext, stepMs: number): void {
  let nowMs = 0;
  t.mock.method(performance, 'now', () => {
    nowMs += stepMs;
    return nowMs;
  });
}

for (const [value, expected] of [
  ['3.5', 3.5],
  ['0.2', 1],
  ['much', 1],
  ['1e9', SLOWNESS_MAX],
  [undefined, 1],
] as const)
  test(`a slowness of ${value} is ${expected}, and stretches a limit as much`, (t) => {
    withSlowness(t, value);
    assert.equal(slowness(), expected);
    assert.equal(patience(1000), expected * 1000);
  });

test('an event ends the wait, while other work on the same thread goes on', async () => {
  let looks = 0;
  setImmediate(() => {
    looks = 1000;
  });
  await eventually('the turn', () => looks++ >= 1000);
  await eventually('a promise', () => Promise.resolve(looks++ >= 1010));
});

test('an event that does not come is named in the error', async () => {
  await assert.rejects(
    eventually('the second coming', () => false, 1),
    /^Error: waited \d+\.\d s in vain: the second coming$/,
  );
});

test('time in which the process was stopped does not count', async (t) => {
  clockOfSteps(t, 3_600_000);
  let looks = 0;
  await eventually('the ninth look', () => ++looks === 9, 20_000);
  const silence = new Silence();
  assert.equal(silence.ms, 2000);
  assert.equal(silence.ms, 4000);
  silence.end();
  assert.equal(silence.ms, 2000);
});
