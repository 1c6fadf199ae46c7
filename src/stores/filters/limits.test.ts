// Limits: what their text may be, and the memory that threads share.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Limits, parseLimit } from './limits.ts';

test('a limit is a list of iops, bps and burst; bps is a size', () => {
  assert.deepEqual(parseLimit('iops=500,bps=10M,burst=2'), { iops: 500, bps: 10 * 1024 ** 2, burst: 2 });
  assert.deepEqual(parseLimit('iops=1'), { iops: 1 });
  assert.deepEqual(parseLimit('burst=0.5,bps=1.5GiB'), { burst: 0.5, bps: 1.5 * 1024 ** 3 });
  assert.deepEqual(parseLimit('bps=1.3K'), { bps: 1331 });
});

const mistakes: readonly [text: string, message: RegExp][] = [
  ['', /^"" is no limit: write iops=500, bps=10M or burst=2$/],
  ['500', /^"500" is no limit: write iops=500/],
  ['iops=500,', /^"" is no limit/],
  ['iops=500, bps=1M', /^" bps=1M" is no limit/],
  ['ips=500', /^"ips=500" is no limit: write iops=500/],
  ['toString=1', /^"toString=1" is no limit/],
  ['iops=1,iops=2', /^iops is there twice$/],
  ['iops=0', /^iops=0: a whole number of requests a second from 1 to 10000000 is wanted$/],
  ['iops=-5', /^iops=-5: a whole number/],
  ['iops=1.5', /^iops=1.5: a whole number/],
  ['iops=10000001', /^iops=10000001: a whole number/],
  ['iops=', /^iops=: "" is not a number$/],
  ['iops=many', /^iops=many: "many" is not a number$/],
  ['iops=1e3', /^iops=1e3: "1e3" is not a number$/],
  ['iops=5k', /^iops=5k: "5k" is not a number$/],
  ['iops==5', /^iops==5: "=5" is not a number$/],
  ['bps=0', /^bps=0: 1K to 1T bytes a second are wanted$/],
  ['bps=10', /^bps=10: 1K to 1T bytes a second are wanted$/],
  ['bps=2T', /^bps=2199023255552: 1K to 1T bytes/],
  ['bps=-1M', /^bps=-1M: "-1M" is not a size: write a number and K, M, G or T/],
  ['bps=10MB', /^bps=10MB: "10MB" means 10000000 bytes to some tools and 10485760 to others/],
  ['iops=5,burst=0', /^burst=0: 0.01 to 3600 seconds are wanted$/],
  ['iops=5,burst=-1', /^burst=-1: 0.01 to 3600 seconds/],
  ['iops=5,burst=3601', /^burst=3601: 0.01 to 3600 seconds/],
  ['burst=2', /^burst limits nothing by itself: add iops or bps$/],
];

for (const [text, message] of mistakes) {
  test(`"${text}" is refused with one line that says what is wanted`, () => {
    assert.throws(() => parseLimit(text), { name: 'RangeError', message });
  });
}

test('limits of a program are checked as well, and a bad change changes nothing', () => {
  for (const bad of [{ iops: 0 }, { iops: Number.NaN }, { bps: 1024.5 }, { reads: { iops: -1 } }, { burst: 2 }])
    assert.throws(() => new Limits(bad), RangeError, JSON.stringify(bad));
  const limits = new Limits({ iops: 5 }, () => 0n);
  const before = new BigInt64Array(limits.memory).slice();
  assert.throws(() => limits.set({ iops: 6, bps: -1 }), RangeError);
  assert.deepEqual(new BigInt64Array(limits.memory), before);
});

test('a bucket says how long to wait; more than it holds is there when it is full, and makes a debt', () => {
  let now = 0n;
  const limits = new Limits({ iops: 10, burst: 1 }, () => now);
  const bucket = limits.bucket('all', 'iops');
  assert.equal(bucket.take(10), 0);
  assert.equal(bucket.take(1), 100e6);
  assert.equal(bucket.take(1, true), Infinity, 'nothing is taken where one would have to wait');
  assert.equal(bucket.take(2), 300e6);
  bucket.giveBack(2);
  now = 100_000_000n;
  assert.equal(bucket.take(25), 1000e6, 'not before it is full');
  now = 1_100_000_000n;
  assert.equal(bucket.take(1), 1600e6, '15 of the debt, and 1');
});

test('a change holds at once, with nothing saved up and no debt', () => {
  let now = 5_000_000_000n;
  const limits = new Limits({ iops: 10 }, () => now);
  const bucket = limits.bucket('all', 'iops');
  bucket.take(1000);
  limits.set({ iops: 100 });
  assert.equal(bucket.take(1), 10e6);
  limits.set({});
  assert.equal(bucket.take(1e9), 0, 'no limit');
  limits.set({ iops: 2, burst: 3 });
  now += 60_000_000_000n;
  assert.equal(bucket.take(6), 0, 'what is saved up has an end');
  assert.equal(bucket.take(1), 500e6);
});

test('threads that take from one bucket at the same time take each token once', async () => {
  const limits = new Limits({ iops: 1_000_000 }, () => 0n);
  const url = JSON.stringify(new URL('./limits.ts', import.meta.url).href);
  const program = `import(${url}).then(({ Limits }) => {
    const bucket = new Limits(require('node:worker_threads').workerData, () => 0n).bucket('all', 'iops');
    for (let i = 0; i < 20_000; i++) bucket.take(1);
    for (let i = 0; i < 10_000; i++) bucket.giveBack(1);
  });`;
  const workers = Array.from({ length: 2 }, () => new Worker(program, { eval: true, workerData: limits.memory }));
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
  // 2 * 10,000 tokens of a microsecond are gone, of the million that it holds.
  const bucket = limits.bucket('all', 'iops');
  assert.equal(bucket.take(980_000), 0);
  assert.equal(bucket.take(1), 1000);
});
