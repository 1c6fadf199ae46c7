// bench/load: which blocks are picked, in order and at random.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockPicker, partOf } from './block-picker.ts';

test('the parts of a disk cover it, each block once', () => {
  for (const [blocks, queues] of [
    [10, 3],
    [7, 7],
    [262_144, 4],
  ] as const) {
    let next = 0;
    for (let queue = 0; queue < queues; queue++) {
      const { first, count } = partOf(blocks, queue, queues);
      assert.equal(first, next);
      assert.ok(count > 0);
      next = first + count;
    }
    assert.equal(next, blocks);
  }
});

test('in order, every block of the range follows the other and then the first again', () => {
  const picker = new BlockPicker({ first: 5, count: 3 }, false, 1);
  assert.deepEqual(
    Array.from({ length: 7 }, () => picker.next()),
    [5, 6, 7, 5, 6, 7, 5],
  );
});

test('at random, all blocks of the range and no others come up, about equally often', () => {
  const picker = new BlockPicker({ first: 100, count: 16 }, true, 7);
  const counts = new Map<number, number>();
  for (let i = 0; i < 16_000; i++) {
    const block = picker.next();
    counts.set(block, (counts.get(block) ?? 0) + 1);
  }
  assert.deepEqual(
    [...counts.keys()].sort((a, b) => a - b),
    Array.from({ length: 16 }, (_, i) => 100 + i),
  );
  for (const count of counts.values()) assert.ok(count > 800 && count < 1200, `${count} of about 1000`);
});

test('the same seed gives the same blocks, another seed others', () => {
  const picks = (seed: number): number[] => {
    const picker = new BlockPicker({ first: 0, count: 1 << 20 }, true, seed);
    return Array.from({ length: 20 }, () => picker.next());
  };
  assert.deepEqual(picks(3), picks(3));
  assert.notDeepEqual(picks(3), picks(4));
  assert.ok(new Set(picks(0)).size > 15, 'seed 0 works as well');
});
