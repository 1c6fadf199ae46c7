// The tables of `belfry ctl`: columns, rates between two answers, quantiles of buckets.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitTable, listTable, queueTable, statsTable, type Totals } from './ctl-tables.ts';

const DISK: Totals = {
  device: 'disk',
  ...{ requests: 0, batches: 0, kicks: 0, calls: 0, inFlight: 0, bytesRead: 0, bytesWritten: 0 },
  requestsByKind: [],
  latency: { boundsNs: [1024, 2048, 4096], buckets: [0, 0, 0, 0], sumNs: 0 },
};

test('a row of stats is what was done in a second since the answer before', () => {
  const before: Totals = { ...DISK, requestsByKind: [{ kind: 'read', outcome: 'ok', count: 100 }], kicks: 10 };
  const now: Totals = {
    ...before,
    ...{ requests: 700, kicks: 30, calls: 4, inFlight: 3, bytesRead: 4 << 20, pollHits: 3, pollMisses: 1 },
    requestsByKind: [
      { kind: 'read', outcome: 'ok', count: 600 },
      { kind: 'write', outcome: 'error', count: 2 },
      { kind: 'flush', outcome: 'ok', count: 1 },
    ],
    latency: { ...DISK.latency, buckets: [50, 48, 0, 2], sumNs: 1 },
  };
  const [head, row, ...more] = statsTable([now], [before], 2).map((line) => line.split(/ {2,}/));
  assert.deepEqual(more, []);
  assert.deepEqual(Object.fromEntries((head ?? []).map((name, i) => [name, row?.[i]])), {
    device: 'disk',
    'r/s': '250',
    'w/s': '1.00',
    'other/s': '0.50',
    'err/s': '1.00',
    'rMiB/s': '2.00',
    'wMiB/s': '0',
    'in flight': '3',
    'p50 µs': '≤1.02',
    'p99 µs': '>4.10',
    'kicks/s': '10.0',
    'calls/s': '2.00',
    'poll hit %': '75.0',
  });
  const { requestsByKind: _, ...other } = { ...DISK, device: 'net', requests: 10 };
  assert.match(statsTable([other], [], 1)[1] ?? '', /^net +- +- +10\.0 +- +0 +0 +0 +- +- +0 +0 +-$/);
});

test('devices, queues and limits', () => {
  const common = { queues: 4, threads: 1, connected: false, paused: false, upMs: 1500, about: 'x.img' };
  assert.deepEqual(
    listTable([
      { ...common, device: 'disk', kind: 'blk', sizeBytes: 3 * 2 ** 30, readOnly: true, socket: '/s' },
      { ...common, device: 'r', kind: 'rng', connected: true, paused: true },
    ]).map((line) => line.split(/ {2,}/).join('|')),
    [
      'device|kind|size|queues|threads|state|up|socket|about',
      'disk|blk|3G ro|4|1|waiting|1.5 s|/s|x.img',
      'r|rng|-|4|1|paused|1.5 s|-|x.img',
    ],
  );
  const queue = { queue: 3, runs: 'running', polled: true, popped: 9, givenBack: 8, waiting: 1, inFlight: 1 } as const;
  const [, row] = queueTable([
    {
      ...queue,
      words: { availIdx: 10 },
      requests: 8,
      kicks: 1,
      calls: 1,
      lastKickAgoMs: 2000,
      oldest: [{ head: 1, ageMs: 5 }],
    },
  ]);
  assert.equal(row?.split(/ {2,}/).join('|'), '3|running, polled|9|8|1|1|5.0 ms|8|2.0 s|never|availIdx 10');
  assert.deepEqual(
    limitTable([
      { scope: 'all', iops: 500, bps: 10 << 20, burst: 1 },
      { scope: 'reads', iops: 0, bps: 0, burst: 1 },
    ]).map((line) => line.split(/ {2,}/).join('|')),
    ['scope|iops|bytes|burst s', 'all|500|10 MiB/s|1', 'reads|-|-|-'],
  );
});
