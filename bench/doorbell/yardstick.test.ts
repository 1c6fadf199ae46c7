// bench/doorbell: the exit loop in C: the text where it cannot be measured, and a measurement where it can.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Kvm } from '../../src/kvm/kvm.ts';
import { RING_PATHS, type RingPath, ringPayload } from './ring-paths.ts';
import { Yardstick } from './yardstick.ts';

test('without a compiler the column says so', async (t) => {
  const { PATH } = process.env;
  t.after(() => {
    process.env.PATH = PATH;
  });
  process.env.PATH = '/nonexistent';
  assert.equal(await Yardstick.build(0), 'not measured: there is no cc here');
});

function reason(): string | undefined {
  if (spawnSync('cc', ['--version']).status !== 0) return 'there is no cc here';
  try {
    Kvm.open()[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

test('it measures the same guests as the loop in TypeScript', { skip: reason() ?? false }, async () => {
  const yardstick = await Yardstick.build(0);
  assert.ok(typeof yardstick !== 'string', String(yardstick));
  await using measured = yardstick;
  for (const path of RING_PATHS.slice(0, 2) as [RingPath, RingPath]) {
    const us = await measured.measure(ringPayload(path), 200, 2);
    assert.ok(us > 0 && us < 10_000, `${us}`);
  }
});
