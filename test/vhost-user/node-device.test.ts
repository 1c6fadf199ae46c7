// test/vhost-user: a disk that is somebody's TypeScript, served inside Node's loop until it is told to end.
import assert from 'node:assert/strict';
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { blockDevice } from '../../src/daemon/device-source.ts';
import { NodeDevice } from '../../src/daemon/node-device.ts';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';
import { CONFIG } from '../../src/devices/blk/spec.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually, RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { encodeConfig } from '../../src/transports/vhost-user/protocol/message.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { pattern } from '../reference/array-store.ts';
import { attach, DISK_BYTES, gatedDisk } from './back-end.ts';

/** An async disk of 64 KiB that says when it is flushed and closed, and how large it would like to be. */
function serveModule(): {
  disk: NodeDevice;
  gate: ReturnType<typeof gatedDisk>;
  listener: UnixListener;
  path: string;
  lines: string[];
  told: string[];
} {
  const path = join(mkdtempSync(join(tmpdir(), 'belfry-module-')), 'disk.sock');
  const gate = gatedDisk();
  const told: string[] = [];
  const lines: string[] = [];
  const store: BlockStore = {
    ...gate.store,
    refreshSize: () => DISK_BYTES / 2,
    async flush() {
      told.push('flush');
    },
    async close() {
      told.push('close');
    },
  };
  const listener = UnixListener.listen(path);
  const disk = new NodeDevice(blockDevice(store, { queues: 1 }), {
    listener,
    once: false,
    log: (line) => lines.push(line),
  });
  return { disk, gate, listener, path, lines, told };
}

test('SIGTERM: the requests in flight are finished, then the store is flushed and closed, once', async () => {
  const { disk, gate, listener, path, lines, told } = serveModule();
  using guest = new RawGuest();
  const connect = (): RawFrontEnd => RawFrontEnd.connect(path);
  using attached = await attach({ path, lines, connect }, guest);
  const { ring } = attached;
  ring.submit(blockRequest.read(0, 512));
  await eventually('the read', () => gate.waiting === 1);
  disk.stop();
  disk.stop();
  assert.deepEqual(told, []);
  gate.release();
  const { requests, bytesRead } = await disk.closed;
  assert.deepEqual([requests, bytesRead], [1, 512]);
  assert.deepEqual(told, ['flush', 'close']);
  assert.deepEqual(ring.driver.harvest()[0]?.data, pattern(512));
  listener[Symbol.dispose]();
  rmSync(join(path, '..'), { recursive: true });
});

test('SIGHUP: the device takes over the size that the store has now', async () => {
  const { disk, listener, path } = serveModule();
  using front = RawFrontEnd.connect(path);
  disk.refresh();
  const payload = encodeConfig(CONFIG.capacity, new Uint8Array(8));
  const answer = await front.ask({ request: Request.GET_CONFIG, payload });
  assert.equal(answer.payload.getUint32(12, true), DISK_BYTES / 2 / 512);
  disk.stop();
  await disk.closed;
  listener[Symbol.dispose]();
  rmSync(join(path, '..'), { recursive: true });
});

test('regression: the listening socket is left to its owner when the disk has ended', async () => {
  const { disk, listener, path } = serveModule();
  const described = readlinkSync(`/proc/self/fd/${listener.fd}`);
  disk.stop();
  await disk.closed;
  assert.equal(readlinkSync(`/proc/self/fd/${listener.fd}`), described);
  listener[Symbol.dispose]();
  rmSync(join(path, '..'), { recursive: true });
});
