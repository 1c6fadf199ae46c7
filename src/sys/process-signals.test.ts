// Signals sent to the process, read by one thread however busy the others are.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { test } from 'node:test';
import { patience } from '../testing/patience.ts';
import { EventLoop } from './event-loop.ts';
import { ProcessSignals } from './process-signals.ts';

const { SIGWINCH, SIGTERM, SIGHUP } = constants.signals;

/** Waits for so many signals. */
async function receive(signals: ProcessSignals, count: number): Promise<number[]> {
  using loop = new EventLoop();
  const received: number[] = [];
  loop.watch(signals.fd, {
    readable: () => {
      for (let next = signals.read(); next !== undefined; next = signals.read()) received.push(next);
      if (received.length >= count) loop.stop();
    },
  });
  await loop.run();
  return received;
}

test('a signal sent to the process is an event of a loop, read once, and does nothing else', async () => {
  using signals = new ProcessSignals([SIGWINCH, SIGTERM]);
  assert.equal(signals.read(), undefined);
  // By default either would end the process.
  process.kill(process.pid, SIGTERM);
  assert.deepEqual(await receive(signals, 1), [SIGTERM]);
  process.kill(process.pid, SIGWINCH);
  process.kill(process.pid, SIGTERM);
  assert.deepEqual(new Set(await receive(signals, 2)), new Set([SIGWINCH, SIGTERM]));
  assert.equal(signals.read(), undefined);
});

test("Node's own listener is called too", async () => {
  using signals = new ProcessSignals([SIGHUP]);
  const called = new Promise<string>((resolve) => process.once('SIGHUP', resolve));
  process.kill(process.pid, SIGHUP);
  assert.deepEqual(await receive(signals, 1), [SIGHUP]);
  assert.equal(await called, 'SIGHUP');
});

test('of several that listen, each gets the signal', async () => {
  using one = new ProcessSignals([SIGWINCH]);
  using other = new ProcessSignals([SIGWINCH, SIGHUP]);
  process.kill(process.pid, SIGWINCH);
  assert.deepEqual([await receive(one, 1), await receive(other, 1)], [[SIGWINCH], [SIGWINCH]]);
});

test('listening and ending leaves no descriptor and no mapping behind', () => {
  const holdings = (): number[] => [
    readdirSync('/proc/self/fd').length,
    readFileSync('/proc/self/maps', 'utf8').split('\n').length,
  ];
  const listen = (): void => new ProcessSignals([SIGWINCH, SIGTERM, SIGHUP])[Symbol.dispose]();
  for (let i = 0; i < 20; i++) listen();
  const [fds, maps] = holdings() as [number, number];
  for (let i = 0; i < 200; i++) listen();
  const [fdsAfter, mapsAfter] = holdings() as [number, number];
  assert.equal(fdsAfter, fds);
  assert.ok(mapsAfter < maps + 100, `${maps} mappings before, ${mapsAfter} after`);
});

test('a signal that cannot be caught is refused', async () => {
  assert.throws(() => new ProcessSignals([constants.signals.SIGKILL]), { name: 'SystemError', code: 'EINVAL' });
});

/** A process whose main thread is always busy while another thread reads signals; it exits after ten of them. */
const BUSY = `
import { Worker } from 'node:worker_threads';
const count = new Int32Array(new SharedArrayBuffer(4));
const worker = new Worker(\`
  import { workerData } from 'node:worker_threads';
  const { folder, count } = workerData;
  const { EventLoop } = await import(folder + 'event-loop.ts');
  const { ProcessSignals } = await import(folder + 'process-signals.ts');
  const loop = new EventLoop();
  const signals = new ProcessSignals([${SIGTERM}]);
  loop.watch(signals.fd, { readable: () => {
    while (signals.read() !== undefined) if (Atomics.add(count, 0, 1) === 10) loop.stop();
  } });
  Atomics.store(count, 0, 1);
  await loop.run();
  signals[Symbol.dispose]();
\`, { eval: true, workerData: { folder: FOLDER, count } });
while (Atomics.load(count, 0) === 0) await new Promise((resolve) => setImmediate(resolve));
for (let sent = 1; sent <= 10; sent++) {
  process.kill(process.pid, 'SIGTERM');
  while (Atomics.load(count, 0) === sent);
}
console.log('received ' + (Atomics.load(count, 0) - 1));
`;

test('regression: a thread receives signals while the main thread is busy', () => {
  const source = BUSY.replace('FOLDER', JSON.stringify(new URL('.', import.meta.url).href));
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', source];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: patience(60_000) });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'received 10\n', stderr: '' });
});
