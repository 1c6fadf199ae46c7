// Signals that are sent to a thread and read by it like any other event.
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { EventLoop } from './event-loop.ts';
import { SignalFd, signalThread, threadId } from './signal-fd.ts';

const { SIGUSR2, SIGTERM, SIGINT, SIGHUP } = constants.signals;

test('a signal sent to this thread is read once, and does nothing else', () => {
  using signals = new SignalFd([SIGUSR2, SIGTERM]);
  assert.equal(signals.read(), undefined);
  // Without the block, either would end the process.
  signalThread(threadId(), SIGTERM);
  assert.equal(signals.read(), SIGTERM);
  assert.equal(signals.read(), undefined);
  signalThread(threadId(), SIGUSR2);
  signalThread(threadId(), SIGTERM);
  assert.deepEqual(new Set([signals.read(), signals.read()]), new Set([SIGUSR2, SIGTERM]));
  assert.equal(signals.read(), undefined);
});

test('a signal is an event of a loop', () => {
  using loop = new EventLoop();
  using signals = new SignalFd([SIGUSR2]);
  let told: number | undefined;
  loop.watch(signals.fd, () => {
    told = signals.read();
    loop.stop();
  });
  signalThread(threadId(), SIGUSR2);
  loop.run();
  assert.equal(told, SIGUSR2);
});

/** A thread that blocks in its loop, tells each signal it reads, and ends with SIGTERM. */
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
(async () => {
  const { EventLoop } = await import(workerData.folder + 'event-loop.ts');
  const { SignalFd, threadId } = await import(workerData.folder + 'signal-fd.ts');
  const loop = new EventLoop();
  const signals = new SignalFd(workerData.signals);
  loop.watch(signals.fd, () => {
    const signal = signals.read();
    parentPort.postMessage({ signal });
    if (signal === ${SIGTERM}) loop.stop();
  });
  parentPort.postMessage({ thread: threadId() });
  loop.run();
})();
`;

test('signals reach a thread that sleeps in its own loop, in no other thread, and the last one ends it', async () => {
  const signals = [SIGTERM, SIGINT, SIGHUP];
  const folder = new URL('.', import.meta.url).href;
  const workers = [1, 2].map(() => new Worker(THREAD, { eval: true, workerData: { folder, signals } }));
  const told = workers.map((): number[] => []);
  const threads = await Promise.all(
    workers.map(
      (worker, i) =>
        new Promise<number>((resolve, reject) => {
          worker.once('error', reject);
          worker.on('message', ({ thread, signal }: { thread?: number; signal?: number }) => {
            if (thread !== undefined) resolve(thread);
            else told[i]?.push(signal as number);
          });
        }),
    ),
  );
  const exits = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
  signalThread(threads[0] as number, SIGHUP);
  while (told[0]?.length === 0) await new Promise((resolve) => setImmediate(resolve));
  signalThread(threads[1] as number, SIGTERM);
  await exits[1];
  signalThread(threads[0] as number, SIGINT);
  signalThread(threads[0] as number, SIGTERM);
  assert.deepEqual(await Promise.all(exits), [0, 0]);
  assert.equal(told[0]?.[0], SIGHUP);
  assert.deepEqual(new Set(told[0]), new Set([SIGHUP, SIGINT, SIGTERM]));
  assert.deepEqual(told[1], [SIGTERM]);
  assert.throws(() => signalThread(threads[1] as number, SIGTERM), { code: 'ESRCH' });
});
