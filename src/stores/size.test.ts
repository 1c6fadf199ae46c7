// Parsing and formatting of sizes.
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

test('regression: a size may have decimals, and iB behind its letter', () => {
  assert.equal(parseSize('1.5G'), 1.5 * 1024 ** 3);
  assert.equal(parseSize('0.5k'), 512);
  assert.equal(parseSize('1GiB'), 1024 ** 3);
  assert.equal(parseSize('512MiB'), 512 * 1024 ** 2);
  assert.equal(parseSize('2.25tib'), 2.25 * 1024 ** 4);
});

test('what is not the size of a disk is refused with a line that says why', () => {
  for (const text of [
    '',
    'G',
    'iB',
    '1iB',
    '1B',
    '.5G',
    '1.G',
    '1,5G',
    '1Gi',
    '-1G',
    '0x10',
    '1e9',
    ' 1G',
    '1 G',
    '1GiBs',
  ])
    assert.throws(() => parseSize(text), {
      name: 'RangeError',
      message: /is not a size: write a number and K, M, G or T/,
    });
  for (const [text, next] of Object.entries({
    '0': 512,
    '0G': 512,
    '100': 512,
    '1000': 1024,
    '1.1K': 1536,
    '1.5': 512,
  }))
    assert.throws(() => parseSize(text), {
      name: 'RangeError',
      message: `a disk of ${text} bytes: the size must be a multiple of 512, and not 0; the next is ${next}`,
    });
  for (const text of ['9999999T', '9'.repeat(400), `${'9'.repeat(400)}G`])
    assert.throws(() => parseSize(text), { name: 'RangeError', message: /is too large/ });
});

test('regression: a size in GB, which is a power of 1000 elsewhere, is refused with a line that says what to write', () => {
  assert.throws(() => parseSize('1GB'), {
    name: 'RangeError',
    message:
      '"1GB" means 1000000000 bytes to some tools and 1073741824 to others: write 1GiB for 1073741824, or a number of bytes',
  });
  assert.throws(() => parseSize('1.5mb'), { name: 'RangeError', message: /write 1\.5MiB for 1572864, or a number/ });
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
