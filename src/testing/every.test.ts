// `every` walks every combination once, and throws for choices that it cannot walk.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { every } from './every.ts';

test('every combination is walked once, in order', () => {
  const seen: string[] = [];
  for (const choose of every()) seen.push(`${choose.below(2)}${choose.below(3)}`);
  assert.deepEqual(seen, ['00', '01', '02', '10', '11', '12']);
});

test('a choice may depend on earlier ones', () => {
  const words: string[] = [];
  for (const choose of every()) {
    let word = '';
    while (word.length < 3 && choose.flip()) word += choose.of(['a', 'b']);
    words.push(word);
  }
  assert.deepEqual(words.toSorted(), [...new Set(words)].toSorted());
  assert.equal(words.length, 1 + 2 + 4 + 8);
});

test('a body that chooses nothing runs once', () => {
  assert.equal([...every()].length, 1);
});

test('a combination has a name', () => {
  const names: string[] = [];
  for (const choose of every()) {
    choose.below(2);
    choose.below(2);
    names.push(String(choose));
  }
  assert.deepEqual(names, ['0 0', '0 1', '1 0', '1 1']);
});

test('a choice among nothing, or one that depends on something else, throws', () => {
  assert.throws(() => {
    for (const choose of every()) choose.below(0);
  }, RangeError);
  let count = 2;
  assert.throws(() => {
    for (const choose of every()) choose.below(count++);
  }, /was among 2 before and is among 3 now/);
  let ask = true;
  assert.throws(() => {
    for (const choose of every()) {
      if (ask) choose.below(2);
      ask = false;
    }
  }, /ended before its choices did/);
});
