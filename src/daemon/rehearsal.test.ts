// Rehearsals: a thread serves a front end of its own, with every engine, and leaves nothing behind.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { uringProblem } from '../stores/ring-file.ts';
import { eventually } from '../testing/patience.ts';
import { rehearse } from './rehearsal.ts';
import type { RehearsalPlan } from './rehearsal-plan.ts';

const plan: RehearsalPlan = {
  ...{ engine: 'mapped', readOnly: false, options: {}, isLimited: false, isShared: false },
  ...{ sessions: 2, requests: 640 },
};

const plans: readonly (Partial<RehearsalPlan> & { readonly name: string; readonly skip?: string | undefined })[] = [
  { name: 'an image in memory' },
  { name: 'on several threads', isShared: true },
  { name: 'with limits', isLimited: true },
  { name: 'a read-only one', readOnly: true },
  { name: 'io_uring', engine: 'uring', skip: uringProblem() },
  { name: 'blocks of 4096', options: { blockSize: 4096, queues: 2 } },
];

for (const { name, skip = false, ...part } of plans)
  test(`${name}: every request of every front end is served`, { skip }, async () => {
    assert.equal(await rehearse({ ...plan, ...part }), 1280);
  });

test('nothing is left open', async () => {
  const open = (): number => readdirSync('/proc/self/fd').length;
  await rehearse({ ...plan, requests: 0 });
  // Received descriptors are closed later, and some of these may be.
  const before = open();
  for (let i = 0; i < 3; i++) await rehearse({ ...plan, requests: 32 });
  await eventually('all are closed', () => open() <= before);
});

test('it ends at once when the thread is needed', async () => {
  const isOver = new Int32Array(new SharedArrayBuffer(4));
  Atomics.store(isOver, 0, 1);
  assert.equal(await rehearse({ ...plan, isOver }), 0);
});
