// bench/load: the pattern of a block identifies its sector, write and seed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillPattern, findMismatch } from './block-pattern.ts';

const block = (sector: number, generation: number, seed: number): Uint32Array => {
  const words = new Uint32Array(128);
  fillPattern(words, sector, generation, seed);
  return words;
};

test('a block matches its own pattern', () => {
  for (const sector of [0, 8, 2 ** 31, 2 ** 32 - 1, 2 ** 32 + 8]) {
    assert.equal(findMismatch(block(sector, 3, 9), sector, 3, 9), undefined);
  }
});

test('a block of another sector, write or seed does not match, and the message names what it holds', () => {
  assert.match(findMismatch(block(8, 3, 9), 16, 3, 9) ?? '', /sector 8, write 3, seed 9/);
  assert.match(findMismatch(block(8, 2, 9), 8, 3, 9) ?? '', /write 2/);
  assert.match(findMismatch(block(8, 3, 1), 8, 3, 9) ?? '', /seed 1/);
});

test('any one changed byte is found', () => {
  for (let at = 0; at < 512; at++) {
    const words = block(8, 3, 9);
    const bytes = new Uint8Array(words.buffer);
    bytes[at] = (bytes[at] as number) ^ 0x80;
    assert.notEqual(findMismatch(words, 8, 3, 9), undefined, `byte ${at}`);
  }
});
