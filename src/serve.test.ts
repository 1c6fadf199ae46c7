// What a plain script calls: a device object or the name of one is served, and everything ends by `close`, by a signal, by itself.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock, type TestContext, test } from 'node:test';
import { BlockDevice } from './devices/blk/block-device.ts';
import { serve } from './serve.ts';
import { Limits } from './stores/filters/limits.ts';
import { blockRequest } from './testing/block-request.ts';
import { eventually, RawFrontEnd, setMemTable, setU64 } from './testing/raw-front-end.ts';
import { RawGuest } from './testing/raw-guest.ts';
import { Request } from './transports/vhost-user/protocol/spec.ts';
import type { VirtioDevice } from './virtio/device.ts';
import { VIRTIO_F_VERSION_1 } from './virtio/spec.ts';

const store = { sizeBytes: 65_536, read() {} };
const log = (): void => {};

function pathIn(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-serve-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'disk.sock');
}

/** Reads through queue `index` of what listens at `path`; returns the status. */
async function readThrough(path: string, index = 0, bytes = 512): Promise<number | undefined> {
  using front = RawFrontEnd.connect(path);
  using guest = new RawGuest();
  const ring = guest.ring(index, VIRTIO_F_VERSION_1);
  await front.settle(setMemTable([guest.region]), setU64(Request.SET_FEATURES, VIRTIO_F_VERSION_1), ...ring.start());
  return (await ring.serve(blockRequest.read(0, bytes)))[0]?.status;
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

test('regression: a signal ends what is served, as close() does', async (t) => {
  const path = pathIn(t);
  const ending = new AbortController();
  const server = serve(new BlockDevice(store), { vhostUser: path, log, signal: ending.signal });
  assert.equal(await readThrough(path), 0);
  using front = RawFrontEnd.connect(path);
  await front.settle();
  ending.abort();
  await front.closedByPeer();
  assert.equal((await server.closed).requests, 1);
  assert.ok(!existsSync(path));
});

test('regression: a signal that was aborted before ends it at once', async (t) => {
  const path = pathIn(t);
  for (const device of [new BlockDevice(store), 'mem:1M'])
    await serve(device as VirtioDevice, { vhostUser: path, log, signal: AbortSignal.abort() }).closed;
  assert.ok(!existsSync(path));
});

test('regression: a signal that outlives many servers keeps none of them', async (t) => {
  const { signal } = new AbortController();
  const [added, removed] = [mock.method(signal, 'addEventListener'), mock.method(signal, 'removeEventListener')];
  const path = pathIn(t);
  for (let i = 0; i < 3; i++) await serve(new BlockDevice(store), { vhostUser: path, log, signal }).close();
  assert.deepEqual([added.mock.callCount(), removed.mock.callCount()], [3, 3]);
});

test('regression: a disk by its name is served by threads, and a signal ends them', async (t) => {
  const path = pathIn(t);
  const ending = new AbortController();
  const server = serve('mem:1M', { vhostUser: path, log, threads: 2, poll: 'off', signal: ending.signal });
  const { name, sizeBytes, readOnly } = await server.ready();
  assert.deepEqual([name, sizeBytes, readOnly], ['mem:1M', 2 ** 20, false]);
  for (const queue of [0, 1]) assert.equal(await readThrough(path, queue), 0);
  ending.abort();
  assert.equal((await server.closed).requests, 2);
  await eventually('the removal of the socket', () => !existsSync(path));
});

test('two disks share their limits, which change while they are served', async (t) => {
  const limits = new Limits({ bps: 1024 });
  const paths = [pathIn(t), pathIn(t)] as const;
  await using _one = serve('mem:1M', { vhostUser: paths[0], log, limits });
  await using two = serve('mem:1M', { vhostUser: paths[1], log, limits });
  // The bucket was full, and owes a minute now.
  assert.equal(await readThrough(paths[0], 0, 65_536), 0);
  const waiting = readThrough(paths[1]);
  await eventually('a request that waits', async () => (await two.report()).some(({ inFlight }) => inFlight === 1));
  limits.set({});
  assert.equal(await waiting, 0);
  limits.set({ bps: 1024 }, 'writes');
  assert.equal(await readThrough(paths[1], 0, 65_536), 0);
  assert.throws(() => serve('mem:1M', { vhostUser: paths[0], limits: { bps: 1024 } as unknown as Limits }), TypeError);
});

test('a module by its URL is served by threads, read-only where that is wanted', async (t) => {
  const path = pathIn(t);
  const module = join(path, '../disk.ts');
  writeFileSync(module, 'export default { sizeBytes: 65536, read() {}, write() {} };');
  await using server = serve(new URL(`file://${module}`), { vhostUser: path, log, threads: 2, readOnly: true });
  assert.equal((await server.ready()).readOnly, true);
  for (const queue of [0, 1]) assert.equal(await readThrough(path, queue), 0);
});

test('regression: what is no device is refused with a line that says what to do, and nothing listens', (t) => {
  const vhostUser = pathIn(t);
  const is = (device: unknown, options: object, message: string): void =>
    assert.throws(() => serve(device as VirtioDevice, { vhostUser, ...options }), { name: 'TypeError', message });
  is(store, {}, 'a VirtioDevice is wanted, and this is a store: wrap it, new BlockDevice(store)');
  is(
    new BlockDevice(store),
    { threads: 2 },
    'serve: threads is for a device on threads of its own: pass the path of its module',
  );
  for (const threads of [0, -1, 1.5, 1e9])
    is('mem:1M', { threads }, `serve: threads is ${threads}; a whole number from 1 to 256 is wanted`);
  assert.ok(!existsSync(vhostUser));
});

test('regression: where it cannot listen, the disk that it opened is given back', (t) => {
  const vhostUser = pathIn(t);
  const before = descriptors();
  for (let i = 0; i < 3; i++)
    assert.throws(() => serve('mem:1M', { vhostUser: join(vhostUser, 'nowhere') }), { name: 'SystemError' });
  assert.equal(descriptors(), before);
});

test('regression: a request that the store fails is told to standard error, where no log is given', async (t) => {
  const path = pathIn(t);
  const errors = t.mock.method(console, 'error', () => {});
  const read = (): never => {
    throw new Error('no luck');
  };
  await using _server = serve(new BlockDevice({ ...store, name: 'shaky', read }), { vhostUser: path });
  assert.equal(await readThrough(path), 1);
  const lines = errors.mock.calls.map(({ arguments: [line] }) => line);
  assert.ok(lines.includes('store shaky: read at byte 0 failed: no luck'), lines.join('\n'));
});
