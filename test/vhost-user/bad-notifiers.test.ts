// test/vhost-user: front ends that ring without end or never listen, and doorbells that are none.
import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { test } from 'node:test';
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd, libc } from '../../src/sys/libc.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { startKickStorm } from '../kick-storm.ts';
import { attach, FEATURES, negotiate, serveDisk } from './back-end.ts';
import { serveByThreads } from './threads.ts';

const read = blockRequest.read(3, 1024);
const { SET_VRING_KICK, SET_VRING_CALL } = Request;

async function assertServes(ring: RawRing): Promise<void> {
  assert.equal((await ring.serve(read))[0]?.status, 0);
}

for (const features of [FEATURES, FEATURES & ~VIRTIO_F_EVENT_IDX])
  test(`bad input: a front end that never rearms its calls (${features === FEATURES ? 'EVENT_IDX' : 'flags'})`, async () => {
    const REQUESTS = 500;
    await using backEnd = serveDisk();
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest, features);
    const { ring } = attached;
    ring.call.clear();
    const { driver } = ring;
    for (let i = 1; i <= REQUESTS; i++) {
      driver.queue.suppressCalls();
      driver.add(read);
      driver.queue.publish();
      ring.kick.signal();
      await ring.results();
    }
    const { requests, calls } = await backEnd.server.snapshot();
    assert.equal(requests, REQUESTS);
    // The first publish after a start calls in any case.
    assert.ok(calls <= 1, `${calls} calls that nobody asked for`);
    // Nor is anybody else kept waiting, or the front end deaf from now on.
    const other = guest.ring(1, features);
    await attached.front.settle(...other.start());
    await assertServes(other);
    ring.call.clear();
    await assertServes(ring);
    assert.ok(ring.call.clear());
  });

test('bad input: a front end that reads none of its calls costs a counter', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  for (let i = 0; i < 500; i++) await assertServes(attached.ring);
  assert.ok(attached.ring.call.clear());
  assert.deepEqual(backEnd.lines, []);
});

for (const poll of ['off', 'auto', 1000] as const)
  test(`regression: bad input: endless kicks slow down their own queue only (--poll ${poll})`, async (t) => {
    await using backEnd = await serveByThreads(1, { poll });
    using guest = new RawGuest();
    using front = backEnd.connect();
    const [stormy, calm] = [guest.ring(0, FEATURES), guest.ring(1, FEATURES)] as const;
    await negotiate(front);
    await front.settle(setMemTable([guest.region]), ...stormy.start(), ...calm.start());
    await using storm = await startKickStorm(stormy.kick.fd);
    // On the same thread: the other queue, the queue itself, and messages.
    for (let i = 0; i < 100; i++) await assertServes(calm);
    for (let i = 0; i < 100; i++) await assertServes(stormy);
    await front.settle();
    const { requests, calls } = await backEnd.daemon.snapshot();
    t.diagnostic(`${storm.rings} kicks meanwhile`);
    assert.equal(requests, 200);
    // A kick for which there is nothing is answered by nothing.
    assert.ok(calls <= 202, `${calls} calls`);
    await backEnd.daemon.close();
    assert.deepEqual(backEnd.lines, []);
  });

test('bad input: a blocking eventfd is rung and read without blocking, at its maximum too', async () => {
  const FULL = 0xffff_ffff_ffff_fffen;
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  const [kick, call] = [libc.eventfd(0, 0), libc.eventfd(0, 0)] as const;
  await front.settle(ring.notifier(SET_VRING_KICK, kick), ring.notifier(SET_VRING_CALL, call));
  for (const fd of [kick, call]) fill(fd, FULL);
  for (let i = 0; i < 3; i++) {
    ring.submitQuietly(read);
    EventFd.borrow(kick).signal();
    await ring.results();
  }
  assert.ok(EventFd.borrow(call).clear());
  for (const fd of [kick, call]) closeFd(fd);
});

/** Leaves an eventfd's counter at `count`. */
function fill(fd: number, count: bigint): void {
  EventFd.borrow(fd).clear();
  writeSync(fd, new Uint8Array(BigUint64Array.of(count).buffer));
}

test('bad input: descriptors that the front end closes as soon as they are sent', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  const [kick, call] = [EventFd.create(), EventFd.create()] as const;
  front.send(ring.notifier(SET_VRING_KICK, kick.fd));
  front.send(ring.notifier(SET_VRING_CALL, call.fd));
  for (const bell of [kick, call]) bell[Symbol.dispose]();
  await front.settle();
  // It can be neither kicked nor called any more; its messages are handled.
  await front.settle(ring.setKick, ring.setCall);
  await assertServes(ring);
  // A closed descriptor itself the kernel does not send.
  assert.throws(() => front.send(ring.notifier(SET_VRING_KICK, 99_999)), { code: 'EBADF' });
  assert.deepEqual(backEnd.lines, []);
});
