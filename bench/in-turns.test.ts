// bench: steps that are compared run in turns.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inTurns } from './in-turns.ts';

test('every round runs every step in order, after one to warm up', async () => {
  const seen: string[] = [];
  await inTurns({ rounds: 2, steps: ['a', 'b'], signal: undefined }, async (step, round) => {
    seen.push(`${step}${round}`);
  });
  assert.deepEqual(seen, ['a0', 'b0', 'a1', 'b1', 'a2', 'b2']);
});

test('an aborted signal ends it in the middle of a step, with its reason', async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  const turns = inTurns({ rounds: 2, steps: ['a', 'b'], signal: stop.signal }, async (step, round) => {
    seen.push(`${step}${round}`);
    if (round < 1) return;
    stop.abort(new Error('enough'));
    await new Promise(() => {});
  });
  await assert.rejects(turns, /enough/);
  assert.deepEqual(seen, ['a0', 'b0', 'a1']);
});
