// The guest addresses of memory: from 0 up to the devices below 4 GiB, and from 4 GiB on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HIGH_MEMORY_START, LOW_MEMORY_END } from './address-map.ts';
import { memoryPieces } from './guest-ram.ts';

test('memory that fits below the devices is one piece', () => {
  assert.deepEqual(memoryPieces(2 ** 29), [{ guestAddress: 0, sizeBytes: 2 ** 29 }]);
  assert.deepEqual(memoryPieces(LOW_MEMORY_END), [{ guestAddress: 0, sizeBytes: LOW_MEMORY_END }]);
});

test('the rest is above 4 GiB', () => {
  assert.deepEqual(memoryPieces(LOW_MEMORY_END + 4096), [
    { guestAddress: 0, sizeBytes: LOW_MEMORY_END },
    { guestAddress: HIGH_MEMORY_START, sizeBytes: 4096 },
  ]);
});
