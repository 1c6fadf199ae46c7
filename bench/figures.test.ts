// bench: figures are formatted with about three digits.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCount, formatForeign, formatMicros, formatPerThousand, formatTimes } from './figures.ts';

test('figures have about three digits', () => {
  assert.deepEqual([7, 1234, 1_500_000].map(formatCount), ['7', '1.2k', '1.50M']);
  assert.deepEqual([1.234, 12.34, 1234].map(formatMicros), ['1.23', '12.3', '1234']);
  assert.deepEqual([1.034, 17.96].map(formatTimes), ['1.03x', '18.0x']);
  assert.deepEqual([0.0003, 0.062, 0.999].map(formatPerThousand), ['0.30', '62.0', '999']);
});

test('too much foreign work is marked', () => {
  assert.equal(formatForeign({ share: 0.04, isTooMuch: false }), '0.04');
  assert.equal(formatForeign({ share: 0.5, isTooMuch: true }), '0.50 !');
});
