// What threads count in shared memory: sums over threads, latency buckets, polls, requests by kind and outcome.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BlockCounts } from '../devices/blk/block-counts.ts';
import * as blk from '../devices/blk/spec.ts';
import { LATENCY_BOUNDS_NS } from '../virtio/queue-counters.ts';
import { countsOf, ThreadCounters } from './thread-counters.ts';

suite('counters in shared memory', () => {
  test('a queue is summed over its threads, and one that was never used is left out', () => {
    const [first, second] = [new ThreadCounters(3), new ThreadCounters(3)];
    first.queue(1).requests += 5;
    first.queue(1).kicks++;
    const queue = second.queue(1);
    queue.requests += 2;
    queue.batches++;
    queue.calls++;
    const { queues, blocks } = countsOf([first, second].map(({ memory }) => ({ thread: memory, blocks: undefined })));
    assert.equal(blocks, undefined);
    assert.deepEqual(
      queues.map(({ latency: _, ...counts }) => counts),
      [{ queue: 1, requests: 7, batches: 1, calls: 1, kicks: 1, inFlight: 0 }],
    );
  });

  test('a latency is counted in the first bucket whose bound it does not exceed', () => {
    for (const [at, bound] of LATENCY_BOUNDS_NS.entries())
      for (const [ns, bucket] of [
        [bound - 1, at],
        [bound, at],
        [bound + 1, at + 1],
      ] as const) {
        const counters = new ThreadCounters(1);
        counters.queue(0).kicks++;
        counters.queue(0).record(ns);
        const [queue] = countsOf([{ thread: counters.memory, blocks: undefined }]).queues;
        assert.equal(queue?.latency.buckets.indexOf(1), bucket, `${ns} ns`);
        assert.equal(queue?.latency.sumNs, ns);
      }
    const longest = new ThreadCounters(1);
    longest.queue(0).kicks++;
    longest.queue(0).record(2 ** 40);
    longest.queue(0).record(1);
    const [queue] = countsOf([{ thread: longest.memory, blocks: undefined }]).queues;
    assert.deepEqual([queue?.latency.buckets.at(-1), queue?.latency.buckets[0]], [1, 1]);
  });

  test('a poll that found work is a hit; one that ended in a sleep is a miss; a sleep without a poll is neither', () => {
    const counters = new ThreadCounters(1);
    let windowNs = 0;
    const waits: boolean[] = [];
    const policy = counters.counted({ pollNs: () => windowNs, waited: (_ns, found) => void waits.push(found) });
    policy?.pollNs();
    policy?.waited(10, false);
    windowNs = 5000;
    policy?.pollNs();
    policy?.waited(10, true);
    policy?.waited(10, true);
    policy?.waited(9000, false);
    assert.deepEqual(counters.polls, { hits: 2, misses: 1 });
    assert.deepEqual(waits, [false, true, true, false]);
    assert.equal(counters.counted(undefined), undefined);
  });

  test('requests of a disk are counted by kind and outcome', () => {
    const counts = new BlockCounts();
    counts.add(blk.VIRTIO_BLK_T_IN, blk.VIRTIO_BLK_S_OK);
    counts.add(blk.VIRTIO_BLK_T_OUT, blk.VIRTIO_BLK_S_IOERR);
    counts.add(blk.VIRTIO_BLK_T_WRITE_ZEROES, blk.VIRTIO_BLK_S_UNSUPP);
    for (const type of [-1, 2, 15, 16, 0xffff_ffff]) counts.add(type, blk.VIRTIO_BLK_S_UNSUPP);
    counts.addBytes(true, 512);
    counts.addBytes(false, 1024);
    const { blocks } = countsOf([{ thread: new ThreadCounters(1).memory, blocks: counts.memory }]);
    assert.deepEqual(
      blocks?.requests
        .filter(({ count }) => count > 0)
        .map(({ kind, outcome, count }) => `${kind} ${outcome} ${count}`),
      ['read ok 1', 'write error 1', 'write_zeroes unsupported 1', 'other unsupported 5'],
    );
    assert.deepEqual([blocks?.read, blocks?.written], [512, 1024]);
  });
});
