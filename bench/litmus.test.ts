// bench: the handshake with its barrier never fails; without it the outcome depends on the processor, and is logged.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHUNK_ROUNDS, litmus } from './litmus.ts';

const ROUNDS = 200 * CHUNK_ROUNDS;

test('with the barrier, at least one side always sees the store of the other', async (t) => {
  const { rounds, bothMissed, seconds } = await litmus({ rounds: ROUNDS, barrier: true });
  t.diagnostic(`${bothMissed} of ${rounds} rounds lost in ${seconds.toFixed(1)} s`);
  assert.equal(bothMissed, 0);
});

test('without the barrier, the rounds in which neither side sees the other are counted and logged', async (t) => {
  const { rounds, bothMissed, seconds } = await litmus({ rounds: ROUNDS, barrier: false });
  t.diagnostic(`${bothMissed} of ${rounds} rounds lost in ${seconds.toFixed(1)} s`);
  assert.ok(bothMissed >= 0 && bothMissed <= rounds);
});
