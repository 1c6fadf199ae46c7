// test/microvm/bed: who comes when all places are taken waits until one is free.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeTurn } from './turn.ts';

test('one more than there are places waits, says so once, and comes when somebody leaves', async () => {
  let waits = 0;
  const name = `test-${process.pid}`;
  const onWait = (): void => void waits++;
  const first = await takeTurn(onWait, name);
  using _second = await takeTurn(onWait, name);
  assert.equal(waits, 0);
  const third = takeTurn(onWait, name);
  const early = await Promise.race([third, new Promise((resolve) => setTimeout(resolve, 50, 'still waits'))]);
  assert.equal(early, 'still waits');
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  assert.equal(waits, 1);
});
