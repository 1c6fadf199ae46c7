// A fixed amount of work for scripts/slowness.ts: prints how long threads took to compute, and two to wake each other.
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

const STEPS = 20_000_000;
const ROUND_TRIPS = 200;

const COMPUTE = `
  function compute(x) {
    for (let i = 0; i < ${STEPS}; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0;
    return x;
  }
  require('node:worker_threads').parentPort.postMessage(compute(1));`;

const ANSWER = `
  const { workerData: words } = require('node:worker_threads');
  for (let i = 0; i < ${ROUND_TRIPS}; i++) {
    Atomics.wait(words, 0, i);
    Atomics.store(words, 1, i + 1);
    Atomics.notify(words, 1);
  }`;

/** Milliseconds until a thread for each processor has done its work. */
async function compute(): Promise<number> {
  const startedMs = performance.now();
  const threads = Array.from({ length: availableParallelism() }, () => new Worker(COMPUTE, { eval: true }));
  await Promise.all(threads.map((thread) => once(thread, 'exit')));
  return performance.now() - startedMs;
}

/** Milliseconds for a number of round trips between two threads that sleep in between. */
async function wakeEachOther(): Promise<number> {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const thread = new Worker(ANSWER, { eval: true, workerData: words });
  await once(thread, 'online');
  const ended = once(thread, 'exit');
  const startedMs = performance.now();
  for (let i = 0; i < ROUND_TRIPS; i++) {
    Atomics.store(words, 0, i + 1);
    Atomics.notify(words, 0);
    Atomics.wait(words, 1, i);
  }
  const tookMs = performance.now() - startedMs;
  await ended;
  return tookMs;
}

const startedMs = performance.timeOrigin + performance.now();
console.log(JSON.stringify({ startedMs, computeMs: await compute(), wakeMs: await wakeEachOther() }));
