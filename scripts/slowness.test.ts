// How slow a machine is said to be, and who is told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SLOWNESS_MAX, SLOWNESS_VARIABLE } from '../src/testing/patience.ts';
import { measureSlowness, slownessOf } from './slowness.ts';

test('a machine is as slow as the slowest of what was measured, and never faster than a quiet one', () => {
  const quick = { startMs: 10, computeMs: 10, wakeMs: 1 };
  assert.equal(slownessOf(quick), 1);
  const worse = [{ startMs: 1e4 }, { computeMs: 5e3 }, { wakeMs: 1e3 }].map((one) => slownessOf({ ...quick, ...one }));
  assert.ok(
    worse.every((slowness) => slowness > 10 && slowness < SLOWNESS_MAX),
    `${worse}`,
  );
  assert.equal(slownessOf({ ...quick, startMs: 1e9 }), SLOWNESS_MAX);
});

test('what is measured is told to tests, and only ever grows', async () => {
  process.env[SLOWNESS_VARIABLE] = '1';
  const measured = await measureSlowness();
  assert.ok(measured >= 1 && measured <= SLOWNESS_MAX, `${measured}`);
  assert.equal(process.env[SLOWNESS_VARIABLE], String(measured));
  process.env[SLOWNESS_VARIABLE] = String(SLOWNESS_MAX);
  await measureSlowness();
  assert.equal(process.env[SLOWNESS_VARIABLE], String(SLOWNESS_MAX));
});
