// test/vhost-user: every order in which front ends are known to start a disk, and every order in which they might.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventFd } from '../../src/sys/event-fd.ts';
import { UnixSocket } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { every } from '../../src/testing/every.ts';
import {
  addMemReg,
  eventually,
  type RawFrontEnd,
  type RawMessage,
  setMemTable,
  setU64,
} from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { encodeConfig } from '../../src/transports/vhost-user/protocol/message.ts';
import {
  F_PROTOCOL_FEATURES,
  PROTOCOL_F_BACKEND_REQ,
  PROTOCOL_F_CONFIG,
  PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  PROTOCOL_F_MQ,
  PROTOCOL_F_REPLY_ACK,
  PROTOCOL_F_RESET_DEVICE,
  PROTOCOL_F_STATUS,
  Request,
} from '../../src/transports/vhost-user/protocol/spec.ts';
import { pattern } from '../reference/array-store.ts';
import { type BackEnd, DISK_BYTES, FEATURES, negotiate, serveDisk } from './back-end.ts';

const disk = pattern(DISK_BYTES);
const ask = (request: number): RawMessage => ({ request });
const getConfig: RawMessage = { request: Request.GET_CONFIG, payload: encodeConfig(0, new Uint8Array(60)) };

/** A read of every sector of the disk through the ring, and the call for it. */
async function assertServes(ring: RawRing): Promise<void> {
  ring.call.clear();
  const results = await ring.serve(blockRequest.read(0, DISK_BYTES / 2), blockRequest.read(64, DISK_BYTES / 2));
  for (const { status, data, request } of results) {
    assert.equal(status, 0);
    assert.deepEqual(data, disk.subarray(request.sector * 512, request.sector * 512 + data.length));
  }
  await eventually('a call', () => ring.call.clear());
}

async function assertAcknowledged(front: RawFrontEnd, ...messages: readonly RawMessage[]): Promise<void> {
  for (const message of messages) assert.equal(await front.acknowledged(message), 0n);
}

/** Realize and the first DRIVER_OK of vhost-user-blk in QEMU 7.2. */
test('the start sequence of QEMU 7.2 runs two queues', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  using masked = EventFd.create();
  const rings = [guest.ring(0, FEATURES), guest.ring(1, FEATURES)];
  await front.askU64(ask(Request.GET_FEATURES));
  await front.askU64(ask(Request.GET_PROTOCOL_FEATURES));
  const protocol =
    PROTOCOL_F_MQ |
    PROTOCOL_F_REPLY_ACK |
    PROTOCOL_F_BACKEND_REQ |
    PROTOCOL_F_CONFIG |
    PROTOCOL_F_CONFIGURE_MEM_SLOTS |
    PROTOCOL_F_RESET_DEVICE;
  front.send(setU64(Request.SET_PROTOCOL_FEATURES, protocol));
  assert.equal(await front.askU64(ask(Request.GET_QUEUE_NUM)), 4n);
  assert.ok((await front.askU64(ask(Request.GET_MAX_MEM_SLOTS))) >= 32n);
  const [near, far] = UnixSocket.pair();
  await assertAcknowledged(front, { request: Request.SET_BACKEND_REQ_FD, fds: [far.fd] });
  far[Symbol.dispose]();
  front.send(ask(Request.SET_OWNER));
  await front.askU64(ask(Request.GET_FEATURES));
  for (const ring of rings) {
    front.send(ring.notifier(Request.SET_VRING_CALL, masked.fd));
    front.send(ring.setErr);
  }
  await front.ask(getConfig);

  front.send(setU64(Request.SET_FEATURES, FEATURES | F_PROTOCOL_FEATURES));
  for (const ring of rings) front.send(ring.setCall);
  front.send(setU64(Request.SET_FEATURES, FEATURES | F_PROTOCOL_FEATURES));
  await assertAcknowledged(front, addMemReg(guest.region));
  for (const ring of rings) {
    // On every start there is a kick already, and the ring is empty.
    ring.kick.signal();
    for (const message of [ring.setNum, ring.setBase(), ring.setAddress, ring.setKick]) front.send(message);
  }
  for (const ring of rings) front.send(ring.enable());
  for (const ring of rings) await assertServes(ring);
  near[Symbol.dispose]();
});

test('the start sequence of newer QEMU, with STATUS and acknowledged ENABLE, runs a queue', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  const protocol = PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_CONFIG | PROTOCOL_F_CONFIGURE_MEM_SLOTS;
  await front.askU64(ask(Request.GET_FEATURES));
  await front.askU64(ask(Request.GET_PROTOCOL_FEATURES));
  front.send(setU64(Request.SET_PROTOCOL_FEATURES, protocol | PROTOCOL_F_STATUS | PROTOCOL_F_RESET_DEVICE));
  front.send(ask(Request.SET_OWNER));
  front.send(ring.setErr);
  const addStatus = async (bits: bigint): Promise<void> => {
    const before = await front.askU64(ask(Request.GET_STATUS));
    front.send(setU64(Request.SET_STATUS, before | bits));
    assert.equal(await front.askU64(ask(Request.GET_STATUS)), before | bits);
  };
  front.send(setU64(Request.SET_FEATURES, FEATURES | F_PROTOCOL_FEATURES));
  await addStatus(8n); // FEATURES_OK
  await assertAcknowledged(front, addMemReg(guest.region));
  ring.kick.signal();
  for (const message of [ring.setNum, ring.setBase(), ring.setAddress, ring.setKick, ring.setCall]) front.send(message);
  await assertAcknowledged(front, ring.enable());
  await addStatus(1n | 2n | 4n); // ACKNOWLEDGE, DRIVER, DRIVER_OK
  await assertServes(ring);

  // `stop` and `cont`: memory and the error notifier are not sent again.
  front.send(ring.enable(false));
  const base = (await front.ask(ring.getBase)).payload.getUint32(4, true);
  front.send(setU64(Request.SET_STATUS, 0n));
  front.send(setU64(Request.SET_FEATURES, FEATURES | F_PROTOCOL_FEATURES));
  for (const message of [ring.setNum, ring.setBase(base), ring.setAddress, ring.setKick, ring.setCall])
    front.send(message);
  await assertAcknowledged(front, ring.enable());
  await assertServes(ring);
});

test('the start sequence of User-Mode Linux runs a queue: all is acknowledged, notifiers come first', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const features = FEATURES & ~(1n << 29n);
  const ring = guest.ring(0, features);
  const [near, far] = UnixSocket.pair();
  front.send(ask(Request.SET_OWNER));
  await front.askU64(ask(Request.GET_FEATURES));
  await front.askU64(ask(Request.GET_PROTOCOL_FEATURES));
  const protocol = PROTOCOL_F_REPLY_ACK | PROTOCOL_F_BACKEND_REQ | PROTOCOL_F_CONFIG;
  await assertAcknowledged(front, setU64(Request.SET_PROTOCOL_FEATURES, protocol));
  const [requests, requestsFar] = UnixSocket.pair();
  await assertAcknowledged(front, { request: Request.SET_BACKEND_REQ_FD, fds: [requestsFar.fd] });
  requestsFar[Symbol.dispose]();
  await front.ask(getConfig);
  await assertAcknowledged(
    front,
    setU64(Request.SET_FEATURES, features | F_PROTOCOL_FEATURES),
    setMemTable([guest.region]),
    ring.notifier(Request.SET_VRING_CALL, far.fd),
    ring.setKick,
    ring.setNum,
    ring.setBase(),
    ring.setAddress,
    ring.enable(),
  );
  far[Symbol.dispose]();
  const called = new Uint8Array(8);
  // The call at a start: an earlier one may have been missed.
  await eventually('the first call', () => near.receive(called, []) === 8);
  await ring.serve(blockRequest.read(0, 512));
  await eventually('a call through the socket', () => near.receive(called, []) === 8);
  near[Symbol.dispose]();
  requests[Symbol.dispose]();
});

test('the start sequence of crosvm runs a queue', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  front.send(ask(Request.SET_OWNER));
  await front.askU64(ask(Request.GET_FEATURES));
  front.send(setU64(Request.SET_FEATURES, F_PROTOCOL_FEATURES));
  await front.askU64(ask(Request.GET_PROTOCOL_FEATURES));
  front.send(setU64(Request.SET_PROTOCOL_FEATURES, PROTOCOL_F_CONFIG | PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK));
  await front.ask(getConfig);
  await assertAcknowledged(
    front,
    setU64(Request.SET_FEATURES, FEATURES | F_PROTOCOL_FEATURES),
    setMemTable([guest.region]),
    ring.setNum,
    ring.setAddress,
    ring.setBase(),
    ring.setCall,
    ring.setKick,
    ring.enable(),
  );
  await assertServes(ring);
});

test('a front end that negotiates no protocol features finds its rings enabled', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  front.send(ask(Request.SET_OWNER));
  await front.askU64(ask(Request.GET_FEATURES));
  front.send(setU64(Request.SET_FEATURES, FEATURES));
  for (const message of [setMemTable([guest.region]), ring.setNum, ring.setBase(), ring.setAddress])
    front.send(message);
  for (const message of [ring.setKick, ring.setCall]) front.send(message);
  await assertServes(ring);
});

test('regression: SET_FEATURES without the protocol bit starts a ring for which everything else was sent', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  for (const message of [setMemTable([guest.region]), ring.setNum, ring.setBase(), ring.setAddress, ring.setKick])
    front.send(message);
  front.send(ring.setCall);
  front.send(setU64(Request.SET_FEATURES, FEATURES));
  await assertServes(ring);
});

/** What QEMU 7.2 does after it lost its back end while it stopped. */
test('a start sequence on a fresh connection, without negotiation, runs a queue where it left off', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  {
    using front = backEnd.connect();
    await negotiate(front);
    await front.settle(addMemReg(guest.region), ...ring.start());
    await assertServes(ring);
  }
  using front = backEnd.connect();
  front.send(setU64(Request.SET_FEATURES, FEATURES | F_PROTOCOL_FEATURES));
  await assertAcknowledged(front, addMemReg(guest.region), ...ring.start(ring.driver.queue.availableIndex));
  await assertServes(ring);
  assert.deepEqual(backEnd.lines, []);
});

/** The order of `messages` that the choices lead to. */
function permuted<T>(messages: readonly T[], below: (count: number) => number): T[] {
  const left = [...messages];
  return messages.map(() => left.splice(below(left.length), 1)[0] as T);
}

/** Starts a ring by messages in this order, and checks that it serves what was there before and what comes later. */
async function assertOrderWorks(backEnd: BackEnd, order: (ring: RawRing, guest: RawGuest) => RawMessage[]) {
  using front = backEnd.connect();
  using guest = new RawGuest({ sizeBytes: 256 * 1024 });
  const ring = guest.ring(0, FEATURES);
  const messages = order(ring, guest);
  await negotiate(front);
  // Nothing kicks for these two.
  ring.submitQuietly(blockRequest.read(0, 512), blockRequest.read(1, 512));
  for (const message of messages) front.send(message);
  assert.equal((await ring.results()).length, 2);
  await assertServes(ring);
}

test('the messages of a ring start it in each of their 720 orders', async () => {
  await using backEnd = serveDisk();
  let orders = 0;
  for (const choose of every()) {
    await assertOrderWorks(backEnd, (ring, guest) => {
      const messages = [ring.setNum, ring.setBase(), ring.setAddress, ring.setKick, ring.setCall, ring.enable()];
      return [setMemTable([guest.region]), ...permuted(messages, (count) => choose.below(count))];
    });
    orders++;
  }
  assert.equal(orders, 720);
  assert.deepEqual(backEnd.lines, []);
});

test('memory may come anywhere among the messages of a ring', async () => {
  await using backEnd = serveDisk();
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SeededRandom(seed);
    await assertOrderWorks(backEnd, (ring, guest) => {
      const memory = random.flip() ? setMemTable([guest.region]) : addMemReg(guest.region);
      const messages = [ring.setNum, ring.setBase(), ring.setAddress, ring.setKick, ring.setErr, ring.enable()];
      return [...permuted([memory, ...messages], (count) => random.below(count)), ring.setCall];
    });
  }
  assert.deepEqual(backEnd.lines, []);
});

test('regression: a ring whose memory comes with the second ADD_MEM_REG waits for it', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using elsewhere = new RawGuest({ guestAddress: 64 << 20 });
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  await negotiate(front);
  await assertAcknowledged(front, ...ring.start(), addMemReg(elsewhere.region), addMemReg(guest.region));
  await assertServes(ring);
});

test('a UNIX socket does for calls: User-Mode Linux sends one', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  const [call, theirs] = UnixSocket.pair();
  await negotiate(front);
  await front.settle(setMemTable([guest.region]), ...ring.start(), ring.notifier(Request.SET_VRING_CALL, theirs.fd));
  theirs[Symbol.dispose]();
  const called = EventFd.borrow(call.fd);
  await eventually('the first call', () => called.clear());
  ring.submitQuietly(blockRequest.read(0, 512));
  ring.kick.signal();
  await ring.results();
  await eventually('a call', () => called.clear());
  call[Symbol.dispose]();
});

test('regression: the reason why a ring cannot start is logged: no memory is shared, or none that contains the ring', async () => {
  for (const isShared of [false, true]) {
    await using backEnd = serveDisk();
    using front = backEnd.connect();
    using elsewhere = new RawGuest({ guestAddress: 64 << 20 });
    using guest = new RawGuest();
    const ring = guest.ring(0, FEATURES);
    await negotiate(front);
    await front.settle(...ring.start());
    if (isShared) await assertAcknowledged(front, addMemReg(elsewhere.region));
    await eventually('the line', () => backEnd.lines.length > 0);
    const why = isShared
      ? /^queue 0 cannot start: SET_VRING_ADDR: descriptorArea at 0x\w+ is in no region of the memory table$/
      : /^queue 0 cannot start: the front end has shared no memory$/;
    assert.match(backEnd.lines.join('\n'), why);
    // It is waited for.
    await assertAcknowledged(front, addMemReg(guest.region));
    await assertServes(ring);
  }
});
