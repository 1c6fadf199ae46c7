// test/cli: `serve` under full load ends on SIGTERM, also while its main thread is in an endless loop.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { generateLoad } from '../../bench/load/load-generator.ts';
import { DEFAULT_LOAD } from '../../bench/load/load-spec.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { NotifySocket } from '../../src/testing/notify-socket.ts';
import { RawFrontEnd, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { startKickStorm } from '../kick-storm.ts';
import { FEATURES, negotiate } from '../vhost-user/back-end.ts';
import { startBelfry, testFolder, withoutDelays } from './belfry-process.ts';

/** SIGWINCH keeps the main thread busy for ever. */
const MODULE = `
import { isMainThread } from 'node:worker_threads';
if (isMainThread) process.on('SIGWINCH', () => {
  console.log('busy');
  for (;;);
});`;
const NODE_OPTIONS = `--disable-warning=ExperimentalWarning --import=data:text/javascript,${encodeURIComponent(MODULE)}`;

/** Serves, loads it until it ends, and returns how long it took from the signal to the end of the process. */
async function endUnderLoad(t: TestContext, signal: NodeJS.Signals, threads: number, isBusy: boolean): Promise<number> {
  const cwd = testFolder(t);
  const queues = 2;
  const args = ['serve', 'blk', 'mem:64M', '--socket', 'sock', '--threads', `${threads}`, '--queues', `${queues}`];
  using manager = new NotifySocket(join(cwd, 'notify.sock'));
  await using serving = startBelfry(args, { cwd, env: { NODE_OPTIONS, NOTIFY_SOCKET: manager.name } });
  await serving.says(/Serving/);
  const over = new AbortController();
  const measuring = Promise.withResolvers<void>();
  const load = generateLoad({
    socket: join(cwd, 'sock'),
    spec: { ...DEFAULT_LOAD, queues, operation: 'mixed', seconds: 3600, warmupSeconds: 0.2 },
    cpus: [],
    signal: over.signal,
    onPhase: () => measuring.resolve(),
  }).catch((error: Error) => error);
  await measuring.promise;
  if (isBusy) {
    serving.kill('SIGWINCH');
    await serving.says(/\nbusy\n/);
  }
  const startMs = performance.now();
  serving.kill(signal);
  const { code, stdout, stderr } = await serving.ended;
  const tookMs = performance.now() - startMs;
  over.abort(new Error('the load is over'));
  await load;
  assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
  if (!isBusy) assert.match(stdout, /\nclosed: [\d,]{2,} requests, /);
  assert.equal(existsSync(join(cwd, 'sock')), false, 'the socket is left');
  // regression: not if the main thread was busy.
  assert.ok(manager.take().includes('STOPPING=1'));
  return tookMs;
}

for (const [signal, threads, isBusy] of [
  ['SIGTERM', 1, true],
  ['SIGINT', 2, true],
  ['SIGTERM', 2, false],
] as const)
  test(`${signal} ends serve under full load on ${threads} threads, its main thread ${isBusy ? 'busy' : 'idle'}`, async (t) => {
    const tookMs = await endUnderLoad(t, signal, threads, isBusy);
    t.diagnostic(`${tookMs.toFixed(0)} ms from the signal to the end of the process`);
  });

for (const poll of ['off', 'auto'])
  test(`SIGTERM ends serve whose front end kicks without end (--poll ${poll})`, async (t) => {
    const cwd = testFolder(t);
    await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock', '--poll', poll], { cwd });
    await serving.says(/Serving/);
    using guest = new RawGuest();
    using front = RawFrontEnd.connect(join(cwd, 'sock'));
    const ring = guest.ring(0, FEATURES);
    await negotiate(front);
    await front.settle(setMemTable([guest.region]), ...ring.start());
    await using storm = await startKickStorm(ring.kick.fd);
    assert.equal((await ring.serve(blockRequest.read(0, 512)))[0]?.status, 0);
    const startMs = performance.now();
    serving.kill('SIGTERM');
    await front.closedByPeer();
    t.diagnostic(`${(performance.now() - startMs).toFixed(0)} ms until the session was closed, ${storm.rings} kicks`);
    const { code, stdout } = await serving.ended;
    assert.equal(code, 0);
    assert.match(stdout, /\nclosed: 1 request, /);
  });
