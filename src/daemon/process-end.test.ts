// Which thread ends the process: one of two, never both. test/cli/serve-busy.test.ts tests a busy main thread.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { threadCpuNs } from '../sys/cpu.ts';
import { eventually } from '../testing/patience.ts';
import { leaveProcessEnd, newProcessEnd, type ProcessEnd, takeProcessEnd } from './process-end.ts';

test('when the main thread has taken the end of the process, the device thread leaves it alone', () => {
  const end = newProcessEnd({ path: '/nowhere', identity: undefined }, 10);
  assert.equal(takeProcessEnd(end), true);
  leaveProcessEnd(end);
  assert.equal(takeProcessEnd(end), true, 'the main thread still has it');
});

for (const isBusy of [false, true]) {
  const who = isBusy ? 'a busy main thread that has the output of a console' : 'a main thread that is not busy';
  test(`${isBusy ? 'regression: ' : ''}the device thread waits for ${who}`, async () => {
    const end = newProcessEnd(undefined, 10, isBusy);
    await waitsFor(end, isBusy);
  });
}

async function waitsFor(end: ProcessEnd, isBusy: boolean): Promise<void> {
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
  const messages: string[] = [];
  worker.on('message', (message: string) => messages.push(message));
  await eventually('the worker has closed', () => messages.length > 0);
  // Time: the worker must not end the process meanwhile.
  if (isBusy) for (const start = threadCpuNs(process.pid); threadCpuNs(process.pid) - start < 50e6; );
  else await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(takeProcessEnd(end), true);
  await new Promise((resolve) => worker.once('exit', resolve));
  assert.deepEqual(messages, ['closed', 'left']);
}
