// Which device a thread is to make: as a plain value, and for a single thread without what only several need.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStore } from '../stores/open-store.ts';
import { unshared } from './device-source.ts';

test('a disk for a single thread shares no record of allocated blocks; any other source stays as it is', async () => {
  const { store, description } = openStore('mem:64K');
  assert.notEqual(description.shared, undefined);
  const source = { kind: 'blk', store: description, options: { queues: 2 } } as const;
  assert.deepEqual(unshared(source), { ...source, store: { ...description, shared: undefined } });
  const rng = { kind: 'rng' } as const;
  assert.equal(unshared(rng), rng);
  await store.close?.();
});
