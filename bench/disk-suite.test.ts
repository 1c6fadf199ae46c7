// bench: the cells of the suite for a disk, and the words that select them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blkCase, withCache } from './blk-cases.ts';
import { diskSuite, parseCells } from './disk-suite.ts';
import { DEFAULT_LOAD } from './load/load-spec.ts';

test('without a choice there are 36 cells, each under a name of its own, on the time given', () => {
  const cells = diskSuite({ ...DEFAULT_LOAD, seconds: 9, wait: 'poll' });
  assert.equal(new Set(cells.map(({ name }) => name)).size, 36);
  assert.ok(cells.every(({ load }) => load.seconds === 9 && load.wait === 'poll'));
  assert.equal(cells.filter(({ cache }) => cache === 'direct').length, 18);
  assert.deepEqual([...new Set(cells.map(({ load }) => load.operation))], ['randread', 'randwrite']);
});

test('of each kind of word the named ones are taken, and all where none is named', () => {
  const named = (list: string): string[] => diskSuite(DEFAULT_LOAD, parseCells(list)).map(({ name }) => name);
  assert.deepEqual(named('4k,Direct,read,64'), ['direct, read 4K, depth 64']);
  assert.deepEqual(
    named('64K,write,cached'),
    [1, 16, 64].map((depth) => `cached, write 64K, depth ${depth}`),
  );
  assert.equal(named('64').length, 12);
  assert.equal(named('64K').length, 12);
  assert.equal(named('1, 1M').length, 4);
});

test('an unknown word is refused with those that are known', () => {
  for (const list of ['8K', '', 'read,', 'depth=1', '4']) {
    assert.throws(() => parseCells(list), { name: 'RangeError', message: /^some of cached,direct,4K,.*,64$/ });
  }
});

test('any other load has a name that says how the image is accessed', () => {
  const { name, cache } = withCache(blkCase(DEFAULT_LOAD), 'direct');
  assert.deepEqual([name, cache], ['direct, randread 4K, depth 64, front end waits for calls', 'direct']);
});
