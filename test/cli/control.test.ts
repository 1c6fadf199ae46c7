// test/cli: `serve --control` and `ctl`: everything over the socket while a guest uses the disk, and supervised.
import assert from 'node:assert/strict';
import { statSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ControlClient } from '../../src/daemon/control/control-client.ts';
import { METHODS, type MethodName } from '../../src/daemon/control/methods.ts';
import { problemsOf } from '../../src/daemon/control/schema.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/patience.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { attach } from '../vhost-user/back-end.ts';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';
import { Supervised } from './supervised.ts';

const SIZE = 1 << 20;

interface Rig {
  readonly socket: string;
  readonly control: string;
  readonly image: string;
  /** Runs `belfry ctl` on it. */
  ctl(...words: string[]): ReturnType<typeof belfry>;
}

function makeRig(t: TestContext): Rig {
  const folder = testFolder(t);
  const [socket, control, image] = ['disk.sock', 'control', 'disk.img'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(image, '');
  truncateSync(image, SIZE);
  const ctl: Rig['ctl'] = (...words) => belfry(['ctl', ...words], { env: { BELFRY_CONTROL: control } });
  return { socket, control, image, ctl };
}

/** A client whose results are held against their schemas. */
async function strictClient(path: string): Promise<ControlClient> {
  const client = await ControlClient.connect(path);
  const call = client.call.bind(client) as (method: MethodName, params: never) => Promise<unknown>;
  client.call = (async (method: MethodName, params: never) => {
    const result = await call(method, params);
    assert.deepEqual(problemsOf(METHODS[method].result, result), [], `${method}: ${JSON.stringify(result)}`);
    return result;
  }) as typeof client.call;
  return client;
}

test('a guest uses the disk: list, stats, queues, pause, limits, resize, events, levels, quit', async (t) => {
  const { socket, control, image } = makeRig(t);
  await using daemon = startBelfry(['serve', 'blk', image, '--socket', socket, '--control', control, '--threads', '2']);
  await daemon.says(/Serving/);
  assert.equal(statSync(control).mode & 0o777, 0o600);
  using client = await strictClient(control);
  const events: string[] = [];
  client.onEvent = ({ event, device }) => void events.push(`${device} ${event}`);
  await client.call('subscribe', { level: 'info' });
  using guest = new RawGuest();
  using attached = await attach({ path: '', lines: [], connect: () => RawFrontEnd.connect(socket) }, guest);
  await eventually('the events of its start', () => events.includes('disk started'));
  assert.equal(events[0], 'disk connected');

  const { ring } = attached;
  const [wrote] = await ring.serve(blockRequest.write(0, new Uint8Array(512).fill(7)));
  const [failed] = await ring.serve(blockRequest.read(SIZE / 512, 512));
  assert.deepEqual([wrote?.status, failed?.status], [0, 1]);
  const { devices } = await client.call('list', {});
  const [listed] = devices;
  assert.deepEqual(
    [
      devices.length,
      listed?.device,
      listed?.kind,
      listed?.socket,
      listed?.sizeBytes,
      listed?.connected,
      listed?.threads,
    ],
    [1, 'disk', 'blk', socket, SIZE, true, 2],
  );
  const [stats] = (await client.call('stats', {})).devices;
  assert.deepEqual(stats?.requestsByKind, [
    { kind: 'read', outcome: 'error', count: 1 },
    { kind: 'write', outcome: 'ok', count: 1 },
  ]);
  assert.deepEqual([stats.requests, stats.bytesRead, stats.bytesWritten, stats.inFlight], [2, 0, 512, 0]);
  assert.ok(stats.kicks >= 1 && stats.calls >= 1 && stats.latency.sumNs > 0);
  assert.equal(stats.latency.buckets.length, stats.latency.boundsNs.length + 1);

  await client.call('pause', { device: 'disk' });
  ring.submit(blockRequest.read(0, 512));
  await eventually('the request waits in the ring', async () => {
    const [queue] = (await client.call('queues', {})).queues;
    return queue?.waiting === 1 && queue.inFlight === 0;
  });
  assert.deepEqual(ring.driver.harvest(), []);
  assert.equal((await client.call('list', {})).devices[0]?.paused, true);
  await client.call('resume', {});
  await eventually('it is served', () => ring.driver.harvest().length === 1);

  await client.call('limits', { iops: 1, burst: 0.01, scope: 'reads' });
  assert.deepEqual((await client.call('limits', {})).limits[1], { scope: 'reads', iops: 1, bps: 0, burst: 0.01 });
  ring.submit(blockRequest.read(0, 512), blockRequest.read(1, 512));
  await eventually('a request waits for the limit', async () => {
    const [queue] = (await client.call('queues', { device: 'disk' })).queues;
    return queue?.oldest?.[0] !== undefined && queue.oldest[0].ageMs > 0;
  });
  await client.call('limits', { iops: 0, scope: 'reads' });
  await eventually('the rest is served', () => ring.driver.harvest().length > 0);

  assert.equal((await client.call('resize', { sizeBytes: 3 << 20 })).sizeBytes, 3 << 20);
  assert.equal(statSync(image).size, 3 << 20);
  await eventually('the event', () => events.includes('disk resized'));
  await assert.rejects(client.call('resize', { sizeBytes: SIZE }), /disk has 3M: to make it smaller would cut off/);
  truncateSync(image, 4 << 20);
  assert.equal((await client.call('resize', {})).sizeBytes, 4 << 20);
  await assert.rejects(client.call('stats', { device: 'other' }), /there is no device "other"; there are: disk/);
  await assert.rejects(client.call('upgrade', {}), /it is not supervised: start it with --supervise/);
  assert.equal((await client.call('log-level', { level: 'error' })).level, 'error');
  await client.call('retry', {});
  await client.call('quit', {});
  const ended = await daemon.ended;
  assert.equal(ended.code, 0);
  // From then on the level was `error`.
  const logged = ended.stderr.split('\n').map((line) => line.replace(/(?<=limit of reads).*/, ''));
  const limit = 'belfry: the limit of reads';
  const expected = ['belfry: paused over the control socket', 'belfry: not paused any more', limit, limit];
  assert.deepEqual(
    logged.filter((line) => expected.includes(line)),
    expected,
  );
  assert.throws(() => statSync(control), /ENOENT/);
});

test('ctl prints tables, again and again, the answer as it came, and events', async (t) => {
  const { socket, control, image, ctl } = makeRig(t);
  await using daemon = startBelfry(['serve', 'blk', image, '--socket', socket, '--control', control]);
  await daemon.says(/Serving/);
  await using watch = startBelfry(['ctl', 'stats', '--watch', '0.05', '--control', control]);
  await using events = startBelfry(['ctl', 'events', '--control', control]);
  assert.match((await ctl('ls')).stdout, /^device +kind +size .*\ndisk +blk +1M +64 +1 +waiting .*disk\.sock/);
  assert.equal(JSON.parse((await ctl('limit', 'disk', 'iops=500', '--json')).stdout).limits[0].iops, 500);
  assert.match((await ctl('limit', 'disk', 'speed=1')).stderr, /^belfry: [^\n]*"speed=1" is no limit[^\n]*\n$/);
  await watch.says(/(?:device .*\ndisk .*\n){3}/);
  let said = '';
  events.onOutput((text) => {
    said += text;
  });
  using client = await strictClient(control);
  // It may not have subscribed yet when the first one comes.
  await eventually('an event', async () => {
    await client.call('pause', {});
    return / warning disk log: paused over the control socket\n/.test(said);
  });
});

test('nobody listens, no path, two sockets at one path: one line', async (t) => {
  const { socket, image, control } = makeRig(t);
  const absent = await belfry(['ctl', 'ls', '--control', control]);
  assert.match(absent.stderr, /^belfry: --control \S+: no daemon listens: was it started with "--control \S+"\?\n$/);
  assert.equal(absent.code, 1);
  const none = await belfry(['ctl', 'ls']);
  assert.match(none.stderr, /^belfry: --control PATH \(or BELFRY_CONTROL\) is needed: [^\n]+\n$/);
  assert.equal(none.code, 2);
  const same = await belfry(['serve', 'blk', image, '--socket', socket, '--control', socket]);
  assert.match(same.stderr, /^belfry: --control: it is another socket than --socket\n$/);
  assert.equal(same.code, 2);
});

test('supervised: the supervisor has the socket, the device process answers, before and after an upgrade', async (t) => {
  const { socket, image } = makeRig(t);
  await using supervised = new Supervised(image, socket);
  await supervised.process.says(/"listening"/);
  using client = await strictClient(`${socket}.control`);
  const events: string[] = [];
  client.onEvent = ({ event }) => void events.push(event);
  await client.call('subscribe', {});
  const { pid } = await client.call('version', {});
  assert.equal(pid, supervised.process.pid);
  assert.equal((await client.call('list', {})).devices[0]?.device, 'disk');
  await assert.rejects(client.call('stats', { device: 'no' }), /there is no device "no"/);
  await client.call('upgrade', {});
  await eventually('events of supervisor', () => events.includes('upgraded') && events.includes('restarted'));
  assert.equal((await client.call('stats', {})).devices[0]?.requests, 0);
  const front = RawFrontEnd.connect(socket);
  await eventually('an event of the device process', () => events.includes('connected'));
  front[Symbol.dispose]();
  await client.call('quit', {});
  assert.equal((await supervised.process.ended).code, 0);
});

test('a flood of messages, half messages and clients that never read: the disk serves on, and others are answered', async (t) => {
  const { socket, control, image } = makeRig(t);
  await using daemon = startBelfry(['serve', 'blk', image, '--socket', socket, '--control', control]);
  await daemon.says(/Serving/);
  using guest = new RawGuest();
  using attached = await attach({ path: '', lines: [], connect: () => RawFrontEnd.connect(socket) }, guest);
  const line = '{"jsonrpc":"2.0","id":1,"method":"queues","params":{}}\n';
  const flood = Array.from({ length: 4 }, () => connect(control).on('error', () => {}));
  // A million of them, which nobody answers before the test ends; none of the answers is read.
  for (const client of flood) for (let i = 0; i < 250; i++) client.pause().write(line.repeat(1000));
  const half = connect(control).on('error', () => {});
  half.write('{"jsonrpc":');
  using client = await strictClient(control);
  for (let i = 0; i < 200; i++) {
    const [result] = await attached.ring.serve(blockRequest.read(i, 512));
    assert.equal(result?.status, 0);
    if (i % 20 === 0) await client.call('list', {});
  }
  for (const one of [...flood, half]) one.destroy();
  daemon.kill('SIGTERM');
  assert.equal((await daemon.ended).code, 0);
});
