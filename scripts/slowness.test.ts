// How the slowness of a machine is measured, and passed to tests.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SLOWNESS_MAX, SLOWNESS_VARIABLE } from '../src/testing/patience.ts';
import { measureSlowness, slownessOf } from './slowness.ts';

test('the slowness is that of the slowest measurement, and at least that of a quiet machine', () => {
  const quick = { startMs: 10, computeMs: 10, wakeMs: 1 };
  assert.equal(slownessOf(quick), 1);
  const worse = [{ startMs: 1e4 }, { computeMs: 5e3 }, { wakeMs: 1e3 }].map((one) => slownessOf({ ...quick, ...one }));
  assert.ok(
    worse.every((slowness) => slowness > 10 && slowness < SLOWNESS_MAX),
    `${worse}`,
  );
  assert.equal(slownessOf({ ...quick, startMs: 1e9 }), SLOWNESS_MAX);
});

test('the slowness is passed to tests in the environment, and never decreases', async () => {
  process.env[SLOWNESS_VARIABLE] = '1';
  const measured = await measureSlowness();
  assert.ok(measured >= 1 && measured <= SLOWNESS_MAX, `${measured}`);
  assert.equal(process.env[SLOWNESS_VARIABLE], String(measured));
  process.env[SLOWNESS_VARIABLE] = String(SLOWNESS_MAX);
  await measureSlowness();
  assert.equal(process.env[SLOWNESS_VARIABLE], String(SLOWNESS_MAX));
});
