// The processor time of a thread, read by itself and by another thread.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { threadCpuNs } from './cpu.ts';
import { startThread } from './thread.ts';
import { threadId } from './thread-signal.ts';

test('a thread reads the same processor time with and without its id', () => {
  const before = threadCpuNs();
  const named = threadCpuNs(threadId());
  const after = threadCpuNs();
  assert.ok(before <= named && named <= after, `${before}, ${named}, ${after}`);
});

test('another thread’s grows while that works, and does not while it sleeps', async () => {
  const word = new Int32Array(new SharedArrayBuffer(8));
  const folder = new URL('.', import.meta.url).href;
  const worker = startThread(
    `const { workerData: { folder, word }, parentPort } = require('node:worker_threads');
    (async () => {
      const { threadId } = await import(folder + 'thread-signal.ts');
      Atomics.store(word, 0, threadId());
      parentPort.postMessage('working');
      while (Atomics.load(word, 1) === 0);
      parentPort.postMessage('asleep');
      Atomics.wait(word, 1, 1);
    })();`,
    { eval: true, workerData: { folder, word } },
  );
  await once(worker, 'message');
  const thread = Atomics.load(word, 0);
  const startNs = threadCpuNs(thread);
  while (threadCpuNs(thread) - startNs < 1e6);
  const asleep = once(worker, 'message');
  Atomics.store(word, 1, 1);
  await asleep;
  // The thread takes a moment to fall asleep.
  let before = 0;
  for (let now = threadCpuNs(thread); now !== before; now = threadCpuNs(thread)) {
    before = now;
    // Time: what is tested is that no processor time passes meanwhile.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  Atomics.store(word, 1, 2);
  Atomics.notify(word, 1);
  await once(worker, 'exit');
  assert.throws(() => threadCpuNs(thread), { name: 'SystemError', code: 'EINVAL' });
});
