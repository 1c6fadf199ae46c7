// SeededRandom: the same seed gives the same numbers, and they are spread evenly.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from './seeded-random.ts';

const first = (seed: number): number[] => {
  const random = new SeededRandom(seed);
  return Array.from({ length: 8 }, () => random.uint32());
};

test('a seed always gives the same numbers, and another seed gives others', () => {
  assert.deepEqual(first(7), first(7));
  const seeds = [0, 1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 52];
  assert.equal(new Set(seeds.map((seed) => first(seed).join())).size, seeds.length);
});

test('numbers below a count are about equally frequent', () => {
  const random = new SeededRandom(1);
  const seen = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) seen[random.below(10)]! += 1;
  assert.ok(
    seen.every((times) => times > 850 && times < 1150),
    seen.join(),
  );
});

test('it fills bytes, flips, and picks', () => {
  const random = new SeededRandom(3);
  const bytes = new Uint8Array(1000);
  random.fill(bytes);
  assert.ok(new Set(bytes).size > 200);
  assert.deepEqual(new Set(Array.from({ length: 50 }, () => random.of(['a', 'b']))), new Set(['a', 'b']));
  assert.deepEqual(new Set(Array.from({ length: 50 }, () => random.flip())), new Set([true, false]));
  assert.ok(Array.from({ length: 1000 }, () => random.oneIn(10)).filter(Boolean).length > 50);
});
