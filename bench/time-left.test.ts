// bench: the time left is that of the rounds so far, for each round that is left.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TimeLeft } from './time-left.ts';

test('the time left is known after a round, in seconds and from two minutes on in minutes', () => {
  let nowMs = 5000;
  const left = new TimeLeft(61, () => nowMs);
  assert.equal(`${left}`, '');
  nowMs += 3000;
  left.done();
  assert.equal(`${left}`, '3 min left');
  nowMs += 1000;
  left.done();
  assert.equal(`${left}`, '118 s left');
});

test('rounds that are skipped take no time, and there are never fewer than none', () => {
  let nowMs = 0;
  const left = new TimeLeft(10, () => nowMs);
  nowMs += 2000;
  left.done();
  left.skip(4);
  assert.equal(`${left}`, '10 s left');
  left.skip(100);
  assert.equal(`${left}`, '0 s left');
});
