// membarrier(2): the call works, first and later. What it is worth is tested in src/stores/copy-guard.test.ts, with two threads.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barrierOnAllThreads } from './membarrier.ts';

test('a barrier on all threads is to be had, also by a process that has not registered for it', () => {
  assert.equal(barrierOnAllThreads(), true);
  assert.equal(barrierOnAllThreads(), true);
});
