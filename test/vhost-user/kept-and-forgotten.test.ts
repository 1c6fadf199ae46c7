// test/vhost-user: what a session keeps over a stop and a reset, and what it forgets for the next device.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnixSocket } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { addMemReg, eventually, type RawFrontEnd, setMemTable, setU64 } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { encodeConfig } from '../../src/transports/vhost-user/protocol/message.ts';
import { F_PROTOCOL_FEATURES, Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';
import { DISK_BYTES, FEATURES, makeDisk, negotiate, serveDevice, serveDisk } from './back-end.ts';

const RING_SIZE = 128;
const SECTOR = 100;
const BANG = 0x21;
const F_FLUSH = 1n << 9n;
const F_CONFIG_WCE = 1n << 11n;
const WRITEBACK_AT = 32;

const setFeatures = (features: bigint) => setU64(Request.SET_FEATURES, features | F_PROTOCOL_FEATURES);
const setStatus = (status: bigint) => setU64(Request.SET_STATUS, status);

async function baseOf(front: RawFrontEnd, ring: RawRing): Promise<number> {
  return (await front.ask(ring.getBase)).payload.getUint32(4, true);
}

/** Overwrites the data of a write that came back: the guest uses that memory for something else now. */
function reuseBuffer(guest: RawGuest, content: Uint8Array): void {
  const { bytes } = guest.memory;
  const at = bytes.findIndex((_, i) => content.every((byte, j) => bytes[i + j] === byte));
  bytes.fill(BANG, at, at + content.length);
}

/** QEMU 7.2 on `stop`, and on `cont`. */
test('regression: a VM that is stopped by SET_STATUS 0 and goes on does not have its old requests served again', async () => {
  const store = arrayStore(pattern(DISK_BYTES));
  await using backEnd = serveDisk(store);
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES, RING_SIZE);
  const content = new Uint8Array(512).fill(0x41);
  await negotiate(front);
  await front.settle(setMemTable([guest.region]), ...ring.start(), setStatus(15n));
  // At once, so that each has memory of its own.
  await ring.serve(
    blockRequest.write(SECTOR, content),
    ...[0, 1, 2, 3].map((sector) => blockRequest.read(sector, 512)),
  );

  front.send(setStatus(0n));
  front.send(ring.enable(false));
  const base = await baseOf(front, ring);
  reuseBuffer(guest, content);
  const { setNum, setAddress, setKick, setCall } = ring;
  front.send(setFeatures(FEATURES));
  front.send(setStatus(15n));
  const again = [setMemTable([guest.region]), setNum, ring.setBase(base), setAddress, setKick, setCall, ring.enable()];
  await front.settle(...again);
  const isIntact = store.bytes.subarray(SECTOR * 512, (SECTOR + 1) * 512).every((byte) => byte === content[0]);
  assert.deepEqual({ base, used: ring.driver.queue.used[1], isIntact }, { base: 5, used: 5, isIntact: true });
  assert.equal((await ring.serve(blockRequest.read(SECTOR, 512)))[0]?.status, 0);
});

/** What a VMM sends while the driver's choice is valid. QEMU sends the byte once, and the guest reads what it sent. */
const repeated = {
  'a second SET_FEATURES': (features: bigint) => [setFeatures(features)],
  'SET_STATUS 0 and a new start': (features: bigint) => [setStatus(0n), setFeatures(features), setStatus(15n)],
  'SET_FEATURES of a firmware without it': (features: bigint) => [
    setFeatures(features & ~(F_CONFIG_WCE | F_FLUSH)),
    setFeatures(features),
  ],
  // QEMU 10, when the guest reboots. The guest still reads from QEMU what it chose before.
  'RESET_DEVICE and a new start': (features: bigint) => [
    { request: Request.RESET_DEVICE },
    setFeatures(features),
    setStatus(15n),
  ],
};

for (const [name, messages] of Object.entries(repeated)) {
  test(`regression: the cache mode that the driver chose survives ${name}`, async () => {
    const store = arrayStore(pattern(DISK_BYTES));
    let flushes = 0;
    await using backEnd = serveDisk({ ...store, flush: () => void flushes++ });
    using front = backEnd.connect();
    using guest = new RawGuest();
    const features = FEATURES | F_FLUSH | F_CONFIG_WCE;
    const ring = guest.ring(0, features);
    await negotiate(front, features);
    const choice = { request: Request.SET_CONFIG, payload: encodeConfig(WRITEBACK_AT, new Uint8Array([0])) };
    assert.equal(await front.acknowledged(choice), 0n);
    for (const message of messages(features)) front.send(message);
    const asked = { request: Request.GET_CONFIG, payload: encodeConfig(WRITEBACK_AT, new Uint8Array(1)) };
    assert.equal((await front.ask(asked)).payload.getUint8(12), 0);
    await front.settle(setMemTable([guest.region]), ...ring.start());
    await ring.serve(blockRequest.write(0, new Uint8Array(512)));
    assert.equal(flushes, 1);
  });
}

test('regression: SET_OWNER begins a device that gives the memory of the one before again', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  for (let device = 0; device < 3; device++) {
    const ring = guest.ring(0, FEATURES);
    await negotiate(front);
    assert.equal(await front.acknowledged(addMemReg(guest.region)), 0n);
    await front.settle(...ring.start());
    assert.equal((await ring.serve(blockRequest.read(0, 512)))[0]?.status, 0);
    await front.settle(ring.enable(false));
    assert.equal(await baseOf(front, ring), 1);
  }
  assert.deepEqual(backEnd.lines, []);
});

/** QEMU sends SET_PROTOCOL_FEATURES and SET_BACKEND_REQ_FD, and SET_OWNER after them. */
test('SET_OWNER keeps what the same device sent before it: the socket for configuration changes', async () => {
  const device = makeDisk();
  await using backEnd = serveDevice(device);
  using front = backEnd.connect();
  const [near, far] = UnixSocket.pair();
  assert.equal(await front.acknowledged({ request: Request.SET_BACKEND_REQ_FD, fds: [far.fd] }), 0n);
  far[Symbol.dispose]();
  await negotiate(front);
  await front.settle();
  device.resize(DISK_BYTES / 2);
  const told = new Uint8Array(64);
  await eventually('the change of the configuration', () => (near.receive(told, []) ?? 0) > 0);
  near[Symbol.dispose]();
});
