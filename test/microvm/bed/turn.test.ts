// test/microvm/bed: a bed that starts when all places are taken waits until one is free.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../../src/testing/patience.ts';
import { takeTurn } from './turn.ts';

test('a bed without a place waits, logs that once, and starts when another ends', async () => {
  let waits = 0;
  const name = `test-${process.pid}`;
  const onWait = (): void => void waits++;
  const first = await takeTurn(onWait, name);
  using _second = await takeTurn(onWait, name);
  assert.equal(waits, 0);
  let entered = 0;
  const enter = async (): Promise<void> => {
    using _turn = await takeTurn(onWait, name);
    entered++;
  };
  const third = enter();
  await eventually('the third waits', () => waits === 1);
  // A bed that comes later has looked at the same places.
  const fourth = enter();
  await eventually('the fourth waits', () => waits === 2);
  assert.equal(entered, 0);
  first[Symbol.dispose]();
  await Promise.all([third, fourth]);
  assert.deepEqual([entered, waits], [2, 2]);
});
