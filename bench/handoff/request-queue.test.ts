// bench/handoff: the monitor excludes and wakes, the queue keeps its order, between real threads.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { isMainThread, workerData } from 'node:worker_threads';
import { startThread } from '../../src/sys/thread.ts';
import { Monitor } from './monitor.ts';
import { type ParsedRead, RequestQueue } from './request-queue.ts';

const TURNS = 20_000;
const SIZE = 16;
const COUNTER = 8;

type Role = 'count' | 'consume';
interface Data {
  readonly role: Role;
  readonly shared: SharedArrayBuffer;
}

/** Adds to a plain counter, which the lock protects. */
function count(shared: SharedArrayBuffer): void {
  const monitor = new Monitor(shared);
  const words = new Int32Array(shared);
  for (let i = 0; i < TURNS; i++) {
    monitor.lock();
    words[COUNTER] = (words[COUNTER] as number) + 1;
    monitor.unlock();
  }
}

/** Takes requests; throws where they are not in order. */
function consume(shared: SharedArrayBuffer): void {
  const queue = new RequestQueue(shared, SIZE);
  const request: ParsedRead = { head: 0, offset: 0, data: 0, length: 0, status: 0 };
  for (let expected = 0; expected < TURNS; expected++) {
    queue.monitor.lock();
    while (queue.isEmpty) queue.monitor.wait();
    queue.shift(request);
    queue.monitor.signal();
    queue.monitor.unlock();
    assert.deepEqual(request, requestOf(expected));
  }
}

function requestOf(i: number): ParsedRead {
  return { head: i & 0xffff, offset: i * 2 ** 33, data: i * 3, length: i + 1, status: i + 2 };
}

function start(role: Role, shared: SharedArrayBuffer): Promise<unknown> {
  return once(startThread(new URL(import.meta.url), { workerData: { role, shared } satisfies Data }), 'exit');
}

if (isMainThread) {
  test('no addition under the lock is lost between three threads', async () => {
    const shared = new SharedArrayBuffer(64);
    const others = [start('count', shared), start('count', shared)];
    count(shared);
    for (const [code] of (await Promise.all(others)) as number[][]) assert.equal(code, 0);
    assert.equal(new Int32Array(shared)[COUNTER], 3 * TURNS);
  });

  test('requests come out as they went in, and a thread that waits for one or for room is woken', async () => {
    const shared = new SharedArrayBuffer(RequestQueue.sharedBytes(SIZE));
    const queue = new RequestQueue(shared, SIZE);
    const exit = start('consume', shared);
    const counters = new Int32Array(shared, 16, 2);
    for (let i = 0; i < TURNS; i++) {
      queue.monitor.lock();
      while ((counters[0] as number) - (counters[1] as number) === SIZE) queue.monitor.wait();
      queue.push(requestOf(i));
      queue.monitor.signal();
      queue.monitor.unlock();
    }
    assert.deepEqual(await exit, [0]);
  });
} else {
  const { role, shared } = workerData as Data;
  if (role === 'count') count(shared);
  else consume(shared);
}
