// test/vhost-user: a disk of a user's module, made and served on a thread of its own, in that thread's Node loop.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BroadcastChannel } from 'node:worker_threads';
import { DeviceDaemon } from '../../src/daemon/device-daemon.ts';
import { CONFIG, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH } from '../../src/devices/blk/spec.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually, RawFrontEnd, setMemTable, setU64 } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { encodeConfig } from '../../src/transports/vhost-user/protocol/message.ts';
import { F_PROTOCOL_FEATURES, Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { attach, DISK_BYTES, FEATURES, problemsTo } from './back-end.ts';

const BYTE = 0x5a;

/** Reads wait for a message; each is reported. A timer of its own would keep Node's loop alive. */
const disk = (channel: string, told: string): string => `
import { appendFileSync } from 'node:fs';
import { BroadcastChannel } from 'node:worker_threads';
const tell = (what) => appendFileSync('${told}', what + ' ');
const channel = new BroadcastChannel('${channel}');
const waiting = [];
channel.onmessage = () => { for (const release of waiting.splice(0)) release(); };
setInterval(() => {}, 1000);
export default {
  sizeBytes: ${DISK_BYTES},
  refreshSize: () => ${DISK_BYTES / 2},
  async read(offset, into) {
    tell('read');
    await new Promise((resolve) => waiting.push(resolve));
    // Time: none is tested; a timer of Node's is.
    await new Promise((resolve) => setTimeout(resolve, 1));
    into.fill(${BYTE});
  },
  async flush() { tell('flush'); },
  async close() { tell('close'); },
};`;

interface ServedModule extends AsyncDisposable {
  readonly daemon: DeviceDaemon;
  readonly listener: UnixListener;
  readonly path: string;
  readonly lines: string[];
  /** What the module was asked for. */
  told(): string;
  release(): void;
  connect(): RawFrontEnd;
}

let served = 0;

function serveModule(text = disk, threads = 1): ServedModule {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-module-'));
  const channel = new BroadcastChannel(`belfry-module-${process.pid}-${++served}`);
  const module = join(folder, 'disk.ts');
  const told = join(folder, 'told');
  writeFileSync(told, '');
  writeFileSync(module, text(channel.name, told));
  const path = join(folder, 'disk.sock');
  const lines: string[] = [];
  const listener = UnixListener.listen(path);
  const device = { kind: 'module', module, isDisk: true, readOnly: false, options: { queues: threads } } as const;
  const daemon = new DeviceDaemon({ device, listener, threads, poll: 'off', once: false, log: problemsTo(lines) });
  return {
    ...{ daemon, listener, path, lines },
    told: () => readFileSync(told, 'utf8'),
    release: () => channel.postMessage('go on'),
    connect: () => RawFrontEnd.connect(path),
    async [Symbol.asyncDispose]() {
      channel.close();
      await daemon.close().catch(() => {});
      listener[Symbol.dispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

test('its profile is known when it serves', async () => {
  await using served = serveModule();
  const { name, ...profile } = await served.daemon.ready();
  assert.match(name, /disk\.ts$/);
  assert.deepEqual(profile, { type: 2, queues: 1, sizeBytes: DISK_BYTES, readOnly: true });
});

test('close: the requests in flight are finished, then the store is flushed and closed, once', async () => {
  await using served = serveModule();
  using guest = new RawGuest();
  using attached = await attach(served, guest);
  const { ring } = attached;
  ring.submit(blockRequest.read(0, 512));
  await eventually('the read', () => served.told() === 'read ');
  void served.daemon.close();
  const closed = served.daemon.close();
  served.release();
  const { requests, bytesRead } = await closed;
  assert.deepEqual([requests, bytesRead], [1, 512]);
  assert.equal(served.told(), 'read flush close ');
  assert.deepEqual(ring.driver.harvest()[0]?.data, new Uint8Array(512).fill(BYTE));
});

test('refresh: the device takes over the size that the store has now', async () => {
  await using served = serveModule();
  using front = served.connect();
  await served.daemon.ready();
  served.daemon.refresh();
  const payload = encodeConfig(CONFIG.capacity, new Uint8Array(8));
  const capacity = async (): Promise<number> => {
    const answer = await front.ask({ request: Request.GET_CONFIG, payload });
    return answer.payload.getUint32(12, true);
  };
  for (let now = 0; now !== DISK_BYTES / 2 / 512; ) now = await capacity();
});

test('a module that cannot be loaded rejects every promise with an error that names it', async () => {
  await using served = serveModule(() => 'throw new Error("no luck today")');
  await assert.rejects(served.daemon.ready(), /disk\.ts: the module failed: no luck today/);
  await assert.rejects(served.daemon.closed, /disk\.ts: the module failed/);
});

test('regression: the listening socket is left to its owner when the disk has ended', async () => {
  await using served = serveModule();
  const described = readlinkSync(`/proc/self/fd/${served.listener.fd}`);
  await served.daemon.close();
  assert.equal(readlinkSync(`/proc/self/fd/${served.listener.fd}`), described);
});

/** Says on which thread it is flushed. */
const cachedDisk = (_channel: string, told: string): string => `
import { appendFileSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
export default {
  sizeBytes: ${DISK_BYTES},
  read() {},
  write() {},
  flush() { appendFileSync('${told}', threadId + ' '); },
};`;

test('regression: a module on two threads is made on each, and the cache mode holds on both when it is acknowledged', async () => {
  await using served = serveModule(cachedDisk, 2);
  await served.daemon.ready();
  using guest = new RawGuest();
  using front = served.connect();
  const features = FEATURES | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_CONFIG_WCE;
  const rings = [guest.ring(0, features), guest.ring(1, features)];
  const cacheMode = (mode: number) => ({
    request: Request.SET_CONFIG,
    payload: encodeConfig(CONFIG.writeback, Uint8Array.of(mode)),
  });
  const assertWrites = async (): Promise<void> => {
    for (const ring of rings)
      assert.equal((await ring.serve(blockRequest.write(0, new Uint8Array(512))))[0]?.status, 0);
  };
  front.send({ request: Request.SET_OWNER });
  // As a VMM does that is notified before its guest has a driver.
  assert.equal(await front.acknowledged(cacheMode(0)), 0n);
  front.send(setU64(Request.SET_FEATURES, features | F_PROTOCOL_FEATURES));
  await front.settle(setMemTable([guest.region]), ...rings.flatMap((ring) => ring.start()));
  await assertWrites();
  const threads = served.told().trim().split(' ');
  assert.equal(threads.length, 2);
  assert.equal(new Set(threads).size, 2, 'a flush on each thread');
  assert.equal(await front.acknowledged(cacheMode(1)), 0n);
  await assertWrites();
  assert.equal(served.told().trim().split(' ').length, 2, 'writeback: nothing is flushed');
});
