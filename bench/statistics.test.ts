// bench: medians, quartiles and decisions over rounds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decided, quantile, summarize } from './statistics.ts';

test('the median of an odd count is the middle one, of an even count the mean of the two in the middle', () => {
  assert.equal(summarize([5, 1, 9]).median, 5);
  assert.equal(summarize([5, 1, 9, 7]).median, 6);
  assert.equal(summarize([4]).median, 4);
});

test('quartiles are between neighbours, and the order of the rounds does not matter', () => {
  const rounds = [50, 10, 40, 20, 30];
  assert.deepEqual(summarize(rounds), { median: 30, min: 10, max: 50, quartiles: [20, 40] });
  assert.deepEqual(rounds, [50, 10, 40, 20, 30]);
  assert.deepEqual(summarize([1, 2, 3, 4]).quartiles, [1.75, 3.25]);
});

test('the quantiles of one value are that value', () => {
  for (const share of [0, 0.3, 1]) assert.equal(quantile([7], share), 7);
});

test('a summary of no values throws', () => {
  assert.throws(() => summarize([]), RangeError);
});

test('ratios decide when they are two percent from one and most rounds agree', () => {
  assert.ok(decided(summarize([1.04, 1.05, 1.06, 0.99, 1.07])));
  assert.ok(decided(summarize([0.9, 0.8, 0.95, 1.2, 0.85])));
  assert.ok(!decided(summarize([1.01, 1.012, 1.015])), 'one percent');
  assert.ok(!decided(summarize([0.8, 1.3, 0.9, 1.25, 1.1])), 'rounds that do not agree');
});
