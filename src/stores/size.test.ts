// Sizes as people write them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSize, parseSize } from './size.ts';

test('a size is a number with K, M, G or T, powers of 1024, in either case', () => {
  assert.equal(parseSize('512'), 512);
  assert.equal(parseSize('1K'), 1024);
  assert.equal(parseSize('512m'), 512 * 1024 ** 2);
  assert.equal(parseSize('3G'), 3 * 1024 ** 3);
  assert.equal(parseSize('4T'), 4 * 1024 ** 4);
});

test('what is not the size of a disk is refused with a line that says why', () => {
  for (const text of ['', 'G', '1.5G', '1GB', '-1G', '0x10', ' 1G', '1 G'])
    assert.throws(() => parseSize(text), {
      name: 'RangeError',
      message: /is not a size: write a number and K, M, G or T/,
    });
  for (const text of ['0', '0G', '100', '1000'])
    assert.throws(() => parseSize(text), { name: 'RangeError', message: /must be a multiple of 512/ });
  assert.throws(() => parseSize('9999999T'), { name: 'RangeError', message: /is too large/ });
});

test('formatting a size uses the largest letter that loses nothing, and parsing gives it back', () => {
  for (const [sizeBytes, text] of [
    [512, '512'],
    [1536, '1536'],
    [1024, '1K'],
    [5 * 1024 ** 2, '5M'],
    [1024 ** 3, '1G'],
    [2048 * 1024 ** 4, '2048T'],
  ] as const) {
    assert.equal(formatSize(sizeBytes), text);
    assert.equal(parseSize(text), sizeBytes);
  }
});
