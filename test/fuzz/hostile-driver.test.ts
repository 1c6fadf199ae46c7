// A hostile driver for some seconds: seeds that are always the same, then fresh ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from './fuzz.ts';

const SECONDS_EACH = 5;

for (const [name, seed] of [
  ['known', 1],
  ['fresh', Math.floor(Math.random() * 2 ** 40)],
] as const) {
  test(`no driver makes the device throw, hang, stray or miscount (${name} seeds)`, async () => {
    console.log(`seed ${seed}`);
    const { rounds, chains, failure } = await fuzz(seed, SECONDS_EACH * 1000);
    console.log(`${rounds} rounds, ${chains} chains, ${Math.round(chains / SECONDS_EACH)} a second`);
    assert.equal(failure ?? '', '');
    assert.ok(chains > 1000);
  });
}
