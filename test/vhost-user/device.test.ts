// test/vhost-user: the messages about the device as a whole: features, configuration space, status.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG, CONFIG_BYTES, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH } from '../../src/devices/blk/spec.ts';
import { UnixSocket } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { RawFrontEnd, setMemTable, setU64 } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { PROTOCOL_FEATURES } from '../../src/transports/vhost-user/back-end/session.ts';
import { encodeConfig } from '../../src/transports/vhost-user/protocol/message.ts';
import {
  BackendRequest,
  F_LOG_ALL,
  F_PROTOCOL_FEATURES,
  Request,
} from '../../src/transports/vhost-user/protocol/spec.ts';
import type { VirtioDevice } from '../../src/virtio/device.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTIO_ID_BLOCK,
} from '../../src/virtio/spec.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';
import { attach, DISK_BYTES, FEATURES, makeDisk, negotiate, serveDevice, serveDisk } from './back-end.ts';

async function readConfig(front: RawFrontEnd, offset: number, size: number): Promise<Uint8Array> {
  const payload = encodeConfig(offset, new Uint8Array(size).fill(0xaa));
  const answer = await front.ask({ request: Request.GET_CONFIG, payload });
  assert.equal(answer.payload.byteLength, payload.length, '"payload size MUST match the front-end\'s request"');
  assert.equal(answer.payload.getUint32(0, true), offset);
  assert.equal(answer.payload.getUint32(4, true), size);
  return new Uint8Array(answer.payload.buffer, 12, size);
}

const writeConfig = (offset: number, ...bytes: readonly number[]) => ({
  request: Request.SET_CONFIG,
  payload: encodeConfig(offset, Uint8Array.from(bytes)),
});

test('the features offered are those of the device, of the ring and of the transport', async () => {
  const device = makeDisk();
  await using backEnd = serveDevice(device);
  using front = backEnd.connect();
  assert.equal(
    await front.askU64({ request: Request.GET_FEATURES }),
    device.features |
      VIRTIO_F_VERSION_1 |
      VIRTIO_F_EVENT_IDX |
      VIRTIO_F_INDIRECT_DESC |
      F_PROTOCOL_FEATURES |
      F_LOG_ALL,
  );
  assert.equal(await front.askU64({ request: Request.GET_PROTOCOL_FEATURES }), PROTOCOL_FEATURES);
  // MQ 0, LOG_SHMFD 1, REPLY_ACK 3, BACKEND_REQ 5, CONFIG 9, INFLIGHT_SHMFD 12, RESET_DEVICE 13, CONFIGURE_MEM_SLOTS 15, STATUS 16
  assert.equal(PROTOCOL_FEATURES, 0x1b22bn);
  assert.equal(await front.askU64({ request: Request.GET_QUEUE_NUM }), 4n);
  assert.equal(await front.askU64({ request: Request.GET_MAX_MEM_SLOTS }), 509n);
});

test('GET_CONFIG reads any part of the configuration space, zeroes beyond its end', async () => {
  const device = makeDisk();
  await using backEnd = serveDevice(device);
  using front = backEnd.connect();
  const space = new Uint8Array(512);
  space.set(device.config.bytes);
  for (const [offset, size] of [
    [0, CONFIG_BYTES],
    [0, 256],
    [0, 0],
    [CONFIG.capacity, 8],
    [CONFIG.num_queues, 2],
    [33, 7],
    [CONFIG_BYTES - 1, 3],
    [CONFIG_BYTES, 1],
    [255, 1],
    [256, 256],
  ] as const)
    assert.deepEqual(await readConfig(front, offset, size), space.subarray(offset, offset + size));
});

test('SET_CONFIG writes `writeback` and nothing else', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  await negotiate(front, FEATURES | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_CONFIG_WCE);
  assert.deepEqual(await readConfig(front, CONFIG.writeback, 1), Uint8Array.of(1));
  assert.equal(await front.acknowledged(writeConfig(CONFIG.writeback, 0)), 0n);
  assert.deepEqual(await readConfig(front, CONFIG.writeback, 1), Uint8Array.of(0));
  assert.deepEqual(backEnd.lines, []);

  const before = await readConfig(front, 0, CONFIG_BYTES);
  for (const message of [
    writeConfig(CONFIG.capacity, 1, 2, 3, 4, 5, 6, 7, 8),
    writeConfig(CONFIG.writeback, 1, 0),
    writeConfig(CONFIG.writeback - 1, 0, 1),
    writeConfig(200, 1),
  ])
    assert.notEqual(await front.acknowledged(message), 0n);
  assert.equal(backEnd.lines.length, 4);
  for (const line of backEnd.lines) assert.match(line, /^SET_CONFIG: \d bytes? at \d+ .* read-only$/);
  assert.deepEqual(await readConfig(front, 0, CONFIG_BYTES), before);
});

test('SET_CONFIG of the cache mode is taken before the features are, and refused by a disk without a cache', async () => {
  {
    await using backEnd = serveDisk();
    using front = backEnd.connect();
    front.send({ request: Request.SET_OWNER });
    assert.equal(await front.acknowledged(writeConfig(CONFIG.writeback, 0)), 0n);
    const accepted = FEATURES | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_CONFIG_WCE;
    front.send(setU64(Request.SET_FEATURES, accepted | F_PROTOCOL_FEATURES));
    assert.deepEqual(await readConfig(front, CONFIG.writeback, 1), Uint8Array.of(0));
  }
  const { flush: _flush, ...withoutCache } = arrayStore(pattern(DISK_BYTES));
  await using backEnd = serveDisk(withoutCache);
  using front = backEnd.connect();
  assert.notEqual(await front.acknowledged(writeConfig(CONFIG.writeback, 0)), 0n);
});

/** Gives the back end a socket for its own messages, and keeps the other end. */
async function listenToBackEnd(front: RawFrontEnd): Promise<RawFrontEnd> {
  const [ours, theirs] = UnixSocket.pair();
  assert.equal(await front.acknowledged({ request: Request.SET_BACKEND_REQ_FD, fds: [theirs.fd] }), 0n);
  theirs[Symbol.dispose]();
  return RawFrontEnd.adopt(ours.fd);
}

test('a resize is sent through the socket of SET_BACKEND_REQ_FD, and GET_CONFIG has the new capacity', async () => {
  const device = makeDisk();
  await using backEnd = serveDevice(device);
  using front = backEnd.connect();
  await negotiate(front);
  using requests = await listenToBackEnd(front);
  device.resize(48 * 1024);
  const message = await requests.receive();
  assert.equal(message?.request, BackendRequest.CONFIG_CHANGE_MSG);
  assert.equal(message?.flags, 1);
  assert.equal(message?.payload.byteLength, 0);
  const capacity = await readConfig(front, CONFIG.capacity, 8);
  assert.deepEqual(capacity, Uint8Array.of(96, 0, 0, 0, 0, 0, 0, 0));
  // An unchanged size is not sent.
  device.resize(48 * 1024);
  await front.settle();
  assert.ok(requests.isSilent());
  // The last socket counts.
  using again = await listenToBackEnd(front);
  assert.equal(await requests.receive(), undefined);
  device.resize(64 * 1024);
  assert.equal((await again.receive())?.request, BackendRequest.CONFIG_CHANGE_MSG);
});

test('a resize without a socket for it is no error', async () => {
  const device = makeDisk();
  await using backEnd = serveDevice(device);
  device.resize(32 * 1024);
  using front = backEnd.connect();
  await negotiate(front);
  device.resize(48 * 1024);
  using requests = await listenToBackEnd(front);
  requests[Symbol.dispose]();
  device.resize(64 * 1024);
  assert.equal(backEnd.lines.length, 1);
  assert.match(backEnd.lines[0] as string, /^the front end was not told of the configuration change: .*EPIPE/);
  await front.settle();
});

test('the socket for messages of the back end is closed with its session, and nothing is sent after it', async () => {
  const device = makeDisk();
  await using backEnd = serveDevice(device);
  const front = backEnd.connect();
  await negotiate(front);
  using requests = await listenToBackEnd(front);
  front[Symbol.dispose]();
  await requests.closedByPeer();
  device.resize(48 * 1024);
  using next = backEnd.connect();
  await negotiate(next);
  device.resize(64 * 1024);
  await next.settle();
  assert.deepEqual(backEnd.lines, []);
});

test('GET_STATUS gives what SET_STATUS set; 0 leaves what the driver chose, since a VM that is paused sends it too', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  await negotiate(front, FEATURES | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_CONFIG_WCE);
  assert.equal(await front.askU64({ request: Request.GET_STATUS }), 0n);
  for (const status of [1n, 3n, 11n, 15n]) {
    front.send(setU64(Request.SET_STATUS, status));
    assert.equal(await front.askU64({ request: Request.GET_STATUS }), status);
  }
  assert.equal(await front.acknowledged(writeConfig(CONFIG.writeback, 0)), 0n);
  front.send(setU64(Request.SET_STATUS, 0n));
  assert.equal(await front.askU64({ request: Request.GET_STATUS }), 0n);
  assert.deepEqual(await readConfig(front, CONFIG.writeback, 1), Uint8Array.of(0));
});

test('the next session finds the device as it was at first', async () => {
  await using backEnd = serveDisk();
  {
    using front = backEnd.connect();
    await negotiate(front, FEATURES | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_CONFIG_WCE);
    assert.equal(await front.acknowledged(writeConfig(CONFIG.writeback, 0)), 0n);
    front.send(setU64(Request.SET_STATUS, 15n));
    await front.settle();
  }
  using front = backEnd.connect();
  assert.deepEqual(await readConfig(front, CONFIG.writeback, 1), Uint8Array.of(1));
  assert.equal(await front.askU64({ request: Request.GET_STATUS }), 0n);
});

test('regression: a device that throws loses its queue, and not the session or the server', async () => {
  const device = {
    type: VIRTIO_ID_BLOCK,
    features: 0n,
    queueSizes: [64],
    process(_index, queue) {
      queue.drain(() => {
        throw new Error('a mistake of this device');
      });
    },
  } satisfies VirtioDevice;
  await using backEnd = serveDevice(device);
  using guest = new RawGuest();
  for (let i = 1; i <= 2; i++) {
    using attached = await attach(backEnd, guest, VIRTIO_F_VERSION_1);
    attached.ring.submit(blockRequest.read(0, 512));
    // The stop waits for what is in flight, and that request will never come back.
    const answer = await attached.front.ask(attached.ring.getBase);
    assert.equal(answer.payload.getUint32(4, true), 1);
    assert.equal(backEnd.lines.length, i);
    assert.match(backEnd.lines[i - 1] as string, /^queue 0 stopped.*a mistake of this device/);
  }
});

test('regression: a queue larger than the device allows is refused', async () => {
  const device: VirtioDevice = { type: VIRTIO_ID_BLOCK, features: 0n, queueSizes: [64], process() {} };
  await using backEnd = serveDevice(device);
  using front = backEnd.connect();
  using guest = new RawGuest();
  await front.settle(guest.ring(0, FEATURES, 64).setNum);
  assert.notEqual(await front.acknowledged(guest.ring(0, FEATURES, 128).setNum), 0n);
  await front.closedByPeer();
  assert.match(backEnd.lines.join('\n'), /^session ended: SET_VRING_NUM: a queue of 128; .* up to 64$/);
});

test('every queue offered can be used', async () => {
  await using backEnd = serveDevice(makeDisk(undefined, { queues: 256 }));
  using front = backEnd.connect();
  using guest = new RawGuest();
  await negotiate(front);
  assert.equal(await front.askU64({ request: Request.GET_QUEUE_NUM }), 256n);
  const ring = guest.ring(255, FEATURES);
  await front.settle(setMemTable([guest.region]), ...ring.start());
  assert.equal((await ring.serve(blockRequest.read(0, 512)))[0]?.status, 0);
});
