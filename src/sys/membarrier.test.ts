// membarrier(2): the first and later calls succeed. Its ordering is tested in src/stores/copy-guard.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barrierOnAllThreads } from './membarrier.ts';

test('a barrier on all threads is to be had, also by a process that has not registered for it', () => {
  assert.equal(barrierOnAllThreads(), true);
  assert.equal(barrierOnAllThreads(), true);
});
