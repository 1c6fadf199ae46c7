// Which thread ends the process: one of two, never both. test/cli/serve-busy.test.ts tests a busy main thread.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { leaveProcessEnd, newProcessEnd, takeProcessEnd } from './process-end.ts';

test('when the main thread has taken the end of the process, the device thread leaves it alone', () => {
  const end = newProcessEnd({ path: '/nowhere', identity: undefined }, 10);
  assert.equal(takeProcessEnd(end), true);
  leaveProcessEnd(end);
  assert.equal(takeProcessEnd(end), true, 'the main thread still has it');
});

const WORKER = `
  const { workerData: { url, end }, parentPort } = require('node:worker_threads');
  (async () => {
    const { leaveProcessEnd } = await import(url);
    parentPort.postMessage('closed');
    leaveProcessEnd(end);
  })();`;

/** Exits with 3, unless the device thread ended the process before, with 0. */
const PROGRAM = `
  const { Worker } = require('node:worker_threads');
  const [url, cpuUrl, isBusy, hasOutput] = process.argv.slice(1);
  (async () => {
    const { newProcessEnd, takeProcessEnd } = await import(url);
    const { threadCpuNs } = await import(cpuUrl);
    const end = newProcessEnd(undefined, 10, hasOutput === 'true');
    const worker = new Worker(${JSON.stringify(WORKER)}, { eval: true, workerData: { url, end } });
    worker.on('message', () => {
      // Time: the worker must not end the process meanwhile.
      if (isBusy === 'true') for (const start = threadCpuNs(process.pid); threadCpuNs(process.pid) - start < 100e6; );
      setTimeout(() => process.exit(takeProcessEnd(end) ? 3 : 4), isBusy === 'true' ? 0 : 50);
    });
  })();`;

const cases = [
  { what: 'the device thread waits for a main thread that is not busy', isBusy: false, hasOutput: false, code: 3 },
  { what: 'the device thread ends the process of a busy main thread', isBusy: true, hasOutput: false, code: 0 },
  {
    what: 'regression: a busy main thread that has the output of a console is waited for',
    isBusy: true,
    hasOutput: true,
    code: 3,
  },
];
for (const { what, isBusy, hasOutput, code } of cases) {
  test(what, () => {
    const urls = ['./process-end.ts', '../sys/cpu.ts'].map((file) => new URL(file, import.meta.url).href);
    const argv = ['--disable-warning=ExperimentalWarning', '-e', PROGRAM, ...urls, String(isBusy), String(hasOutput)];
    const { status, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [code, '']);
  });
}
