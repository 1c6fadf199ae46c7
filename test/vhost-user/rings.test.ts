// test/vhost-user: the life of a ring, message by message: started, stopped, changed and broken while it runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { EventFd } from '../../src/sys/event-fd.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { addMemReg, eventually, type RawFrontEnd, remMemReg, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { VIRTQ_USED_F_NO_NOTIFY } from '../../src/virtio/spec.ts';
import { pattern } from '../reference/array-store.ts';
import { attach, type BackEnd, DISK_BYTES, FEATURES, gatedDisk, negotiate, serveDisk } from './back-end.ts';

const disk = pattern(DISK_BYTES);
const read = blockRequest.read(3, 1024);
const FLAGS_FEATURES = FEATURES & ~(1n << 29n);

async function assertServes(ring: RawRing): Promise<void> {
  const [result] = await ring.serve(read);
  assert.equal(result?.status, 0);
  assert.deepEqual(result?.data, disk.subarray(3 * 512, 5 * 512));
}

/** The base in the answer to GET_VRING_BASE. */
async function stop(front: RawFrontEnd, ring: RawRing): Promise<number> {
  return (await front.ask(ring.getBase)).payload.getUint32(4, true);
}

/** A kick while the ring may not run, and proof that the back end, which had the time to, did nothing. */
async function assertRests(backEnd: BackEnd, guest: RawGuest, ring: RawRing, front?: RawFrontEnd): Promise<void> {
  const requests = (await backEnd.server.snapshot()).requests;
  ring.submitQuietly(read);
  ring.kick.signal();
  const before = guest.memory.bytes.slice();
  await front?.settle();
  // Time: silence is listened to.
  await setTimeout(20);
  assert.equal((await backEnd.server.snapshot()).requests, requests);
  assert.deepEqual(guest.memory.bytes, before, 'guest memory was written to');
}

test('a kick that comes before ENABLE is not lost', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  await negotiate(front);
  const [enable, ...others] = ring.start().reverse();
  assert.equal(enable?.request, Request.SET_VRING_ENABLE);
  await front.settle(setMemTable([guest.region]), ...others);
  await assertRests(backEnd, guest, ring, front);
  front.send(ring.enable());
  assert.equal((await ring.results()).length, 1);
});

test('requests that were in the ring before SET_VRING_KICK need no kick', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  await negotiate(front);
  ring.submitQuietly(read, read, read);
  for (const message of [setMemTable([guest.region]), ...ring.start()]) front.send(message);
  assert.equal((await ring.results()).length, 3);
});

test('a call descriptor that is set late is signalled for earlier completions', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  await negotiate(front);
  const withoutCall = ring.start().filter(({ request }) => request !== Request.SET_VRING_CALL);
  await front.settle(setMemTable([guest.region]), ...withoutCall);
  await assertServes(ring);
  await front.settle(ring.setCall);
  assert.ok(ring.call.clear());
});

test('calls go to the descriptor set last, while the ring runs', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  await assertServes(ring);
  using other = EventFd.create();
  await front.settle(ring.notifier(Request.SET_VRING_CALL, other.fd));
  other.clear();
  ring.call.clear();
  await assertServes(ring);
  assert.ok(other.clear());
  assert.ok(!ring.call.clear());
});

test('a ring without a call descriptor is served in silence', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  await front.settle(ring.notifier(Request.SET_VRING_CALL, undefined));
  ring.call.clear();
  await assertServes(ring);
  assert.ok(!ring.call.clear());
  // And with one again.
  await front.settle(ring.setCall);
  ring.call.clear();
  await assertServes(ring);
  assert.ok(ring.call.clear());
});

test('kicks are read from the descriptor set last', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  await assertServes(ring);
  using other = EventFd.create();
  await front.settle(ring.notifier(Request.SET_VRING_KICK, other.fd));
  ring.submitQuietly(read);
  other.signal();
  assert.equal((await ring.results()).length, 1);
});

for (const features of [FEATURES, FLAGS_FEATURES]) {
  const how = features === FEATURES ? 'EVENT_IDX' : 'flags';
  test(`a ring whose front end sends no kicks is looked at (${how})`, async () => {
    await using backEnd = serveDisk();
    using front = backEnd.connect();
    using guest = new RawGuest();
    const ring = guest.ring(0, features);
    await negotiate(front, features);
    const start = ring.start().map((message) => {
      if (message.request !== Request.SET_VRING_KICK) return message;
      return ring.notifier(Request.SET_VRING_KICK, undefined);
    });
    await front.settle(setMemTable([guest.region]), ...start);
    for (let i = 0; i < 3; i++) {
      ring.submitQuietly(read);
      assert.equal((await ring.results()).length, 1);
    }
    assert.equal((await backEnd.server.snapshot()).kicks, 0);
    // It stops like any other.
    assert.equal(await stop(front, ring), 3);
    await assertRests(backEnd, guest, ring, front);
  });
}

test('GET_VRING_BASE stops the ring: no guest memory is written until it is started where it left off', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  for (let i = 0; i < 5; i++) await assertServes(ring);
  assert.equal(await stop(front, ring), 5);
  await assertRests(backEnd, guest, ring, front);
  assert.equal(await stop(front, ring), 5, 'it tells the same when asked again');
  await front.settle(ring.setNum, ring.setBase(5), ring.setAddress, ring.setKick);
  assert.equal((await ring.results()).length, 1);
  for (let i = 0; i < 20; i++) await assertServes(ring);
  assert.equal(await stop(front, ring), 26);
});

test('GET_VRING_BASE of a ring that was never started is that of SET_VRING_BASE, or 0', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(1, FEATURES);
  assert.equal(await stop(front, ring), 0);
  front.send(ring.setBase(77));
  assert.equal(await stop(front, ring), 77);
});

test('GET_VRING_BASE is answered when the last request in flight has been given back, and not before', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk(disk.store);
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  ring.submit(read, blockRequest.read(0, 512));
  await eventually('both reads', () => disk.waiting === 2);
  front.send(ring.getBase);
  // Time: silence is listened to.
  await setTimeout(20);
  assert.ok(front.isSilent());
  disk.release();
  const { payload } = await front.answer(Request.GET_VRING_BASE);
  assert.equal(payload.getUint32(4, true), 2);
  // They are in the used ring already.
  assert.equal(ring.driver.harvest().length, 2);
});

test('regression: after GET_VRING_BASE the ring asks to be kicked, whatever was asked for while it ran', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk({ ...disk.store, maxInFlight: 2 });
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest, FLAGS_FEATURES);
  const { front, ring } = attached;
  ring.submit(read, read, read);
  await eventually('the reads', () => disk.waiting === 2);
  // More than it takes at once: no kick is wanted until there is room.
  const flagsBefore = ring.driver.queue.used[0];
  front.send(ring.getBase);
  await eventually('the stop', async () => (await backEnd.server.report())[0]?.runs === 'stopping');
  disk.release();
  await front.answer(Request.GET_VRING_BASE);
  assert.deepEqual([flagsBefore, ring.driver.queue.used[0]], [VIRTQ_USED_F_NO_NOTIFY, 0]);
});

test('a ring is not served while it is disabled and goes on when it is enabled', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  await assertServes(ring);
  await front.settle(ring.enable(false));
  await assertRests(backEnd, guest, ring, front);
  await front.settle(ring.enable());
  assert.equal((await ring.results()).length, 1);
  await assertServes(ring);
});

test('SET_MEM_TABLE while a ring runs: the same memory under other addresses', async () => {
  const gated = gatedDisk();
  await using backEnd = serveDisk(gated.store);
  using guest = new RawGuest();
  using more = new RawGuest({ guestAddress: 256 << 20 });
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  ring.submit(read);
  await eventually('the read', () => gated.waiting === 1);
  front.send(setMemTable([more.region, guest.region]));
  // Time: silence is listened to.
  await setTimeout(10);
  gated.release();
  assert.equal((await ring.results())[0]?.status, 0);
  await front.settle();
  // A buffer in the new region.
  const address = more.memory.allocate(512);
  ring.driver.queue.add([
    { address: more.memory.allocate(16), length: 16, writable: false },
    { address, length: 512, writable: true },
    { address: more.memory.allocate(16), length: 1, writable: true },
  ]);
  ring.driver.queue.publish();
  ring.kick.signal();
  await eventually('the read', () => gated.waiting === 1);
  gated.release();
  await eventually('the completion', () => ring.driver.queue.hasUsed());
  assert.deepEqual(more.memory.slice(address, 512), disk.subarray(0, 512));
});

test('regions are added and removed while a ring runs', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest({ mmapOffset: 8192 });
  using more = new RawGuest({ guestAddress: 256 << 20, sizeBytes: 12288 });
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  for (let i = 0; i < 3; i++) {
    assert.equal(await front.acknowledged(addMemReg(more.region)), 0n);
    await assertServes(ring);
    // "… identified by its guest address, user address and size. The mmap offset is ignored."
    assert.equal(await front.acknowledged(remMemReg({ ...more.region, mmapOffset: 12345 })), 0n);
    await assertServes(ring);
  }
  // "For compatibility […] the back-end MAY accept messages with one file descriptor."
  assert.equal(await front.acknowledged(addMemReg(more.region)), 0n);
  assert.equal(await front.acknowledged({ ...remMemReg(more.region), fds: [more.fd] }), 0n);
  await assertServes(ring);
});

test('regression: the region of a running ring may go and come back, as it does when QEMU remaps memory', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  await assertServes(ring);
  assert.equal(await front.acknowledged(remMemReg(guest.region)), 0n);
  await assertRests(backEnd, guest, ring, front);
  assert.equal(await front.acknowledged(addMemReg(guest.region)), 0n);
  assert.equal((await ring.results()).length, 1);
  await assertServes(ring);
  assert.deepEqual(backEnd.lines, []);
});

for (const [name, request, payload] of [
  ['RESET_DEVICE', Request.RESET_DEVICE, new Uint8Array(0)],
  ['SET_STATUS 0', Request.SET_STATUS, new Uint8Array(8)],
] as const) {
  test(`${name} stops every ring; a new start sequence works`, async () => {
    await using backEnd = serveDisk();
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest);
    const { front, ring } = attached;
    await assertServes(ring);
    assert.equal(await front.acknowledged({ request, payload }), 0n);
    await assertRests(backEnd, guest, ring, front);
    assert.equal(await front.askU64({ request: Request.GET_STATUS }), 0n);
    await front.settle(...ring.start(1));
    assert.equal((await ring.results()).length, 1);
    await assertServes(ring);
  });

  test(`regression: the error descriptor, which QEMU sends once a connection, outlives ${name}`, async () => {
    await using backEnd = serveDisk();
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest);
    const { front, ring } = attached;
    await front.settle(ring.setErr, { request, payload }, ...ring.start());
    breakRing(ring);
    await eventually('the error', () => ring.err.clear());
  });
}

test('RESET_OWNER stops every ring', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  await assertServes(ring);
  await front.settle({ request: Request.RESET_OWNER });
  await assertRests(backEnd, guest, ring, front);
  await front.settle(ring.enable());
  assert.equal((await ring.results()).length, 1);
});

test('four queues run beside each other, each with its own notifiers and its own base', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const rings = [0, 1, 2, 3].map((index) => guest.ring(index, FEATURES, 8 << index));
  await negotiate(front);
  await front.settle(setMemTable([guest.region]), ...rings.flatMap((ring) => ring.start()));
  for (const [i, ring] of rings.entries()) {
    for (let n = 0; n <= i; n++) await assertServes(ring);
  }
  for (const [i, ring] of rings.entries()) assert.equal(await stop(front, ring), i + 1);
});

/** Makes a descriptor available that no table of 16 has. */
function breakRing({ driver: { queue }, kick }: RawRing): void {
  queue.available[2 + ((queue.available[1] as number) % queue.size)] = 999;
  Atomics.add(queue.available, 1, 1);
  kick.signal();
}

test('a driver that breaks a MUST loses that queue, for one line and a ring of its error descriptor', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const [bad, good] = [guest.ring(0, FEATURES), guest.ring(1, FEATURES)];
  await negotiate(front);
  await front.settle(setMemTable([guest.region]), ...bad.start(), bad.setErr, ...good.start(), good.setErr);
  await assertServes(bad);
  bad.submitQuietly(read);
  breakRing(bad);
  await eventually('the error', () => bad.err.clear());
  assert.equal((await bad.results()).length, 1, 'what came before the mistake is given back');
  await assertServes(good);
  // It is not served, whatever other messages come.
  await assertRests(backEnd, guest, bad, front);
  assert.ok(!bad.err.clear());
  assert.ok(!good.err.clear());
  assert.equal(backEnd.lines.length, 1);
  assert.match(backEnd.lines[0] as string, /^queue 0 stopped.*descriptor 999.*§2\.7\.5/);

  assert.equal(await stop(front, bad), 2);
  const fresh = guest.ring(0, FEATURES);
  await front.settle(...fresh.start());
  await assertServes(fresh);
  await assertServes(good);
  assert.equal(backEnd.lines.length, 1);
});

test('regression: a broken queue is not tried again when memory changes', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using more = new RawGuest({ guestAddress: 256 << 20 });
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  breakRing(ring);
  await eventually('the line', () => backEnd.lines.length === 1);
  await front.settle(addMemReg(more.region), remMemReg(more.region));
  // Time: silence is listened to.
  await setTimeout(10);
  assert.equal(backEnd.lines.length, 1);
  await stop(front, ring);
  const fresh = guest.ring(0, FEATURES);
  await front.settle(...fresh.start());
  await assertServes(fresh);
});
