// Who ends the process: one of two threads, never both. That a busy main thread is not waited for is shown by test/cli/serve-busy.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { eventually } from '../testing/patience.ts';
import { leaveProcessEnd, newProcessEnd, takeProcessEnd } from './process-end.ts';

test('the main thread takes it, and the device’s thread then leaves it alone', () => {
  const end = newProcessEnd({ path: '/nowhere', identity: undefined }, 10);
  assert.equal(takeProcessEnd(end), true);
  leaveProcessEnd(end);
  assert.equal(takeProcessEnd(end), true, 'it has it still');
});

test('a main thread that has time is waited for', async () => {
  const end = newProcessEnd(undefined, 10);
  const url = new URL('./process-end.ts', import.meta.url).href;
  const worker = new Worker(
    `const { workerData: { url, end }, parentPort } = require('node:worker_threads');
    (async () => {
      const { leaveProcessEnd } = await import(url);
      parentPort.postMessage('closed');
      leaveProcessEnd(end);
      parentPort.postMessage('left');
    })();`,
    { eval: true, workerData: { url, end } },
  );
  const said: string[] = [];
  worker.on('message', (message: string) => said.push(message));
  await eventually('the worker has closed', () => said.length > 0);
  // Time: silence is listened to. It is asleep, not busy.
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(takeProcessEnd(end), true);
  await new Promise((resolve) => worker.once('exit', resolve));
  assert.deepEqual(said, ['closed', 'left']);
});
