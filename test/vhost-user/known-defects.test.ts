// test/vhost-user: mistakes of other back ends, as tests where no other test covers them; docs/notification-reference.md lists them.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DeviceDaemon } from '../../src/daemon/device-daemon.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually, RawFrontEnd, setMemTable, setU64 } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { F_PROTOCOL_FEATURES, Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { attach, FEATURES, gatedDisk, negotiate, openDescriptors, serveDisk } from './back-end.ts';

const read = blockRequest.read(3, 1024);

/** A disk on `threads` threads that have not begun to run yet. */
function startingDaemon(threads: number) {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-defects-'));
  const path = join(folder, 'disk.sock');
  const { store, description } = openStore('mem:1M');
  const listener = UnixListener.listen(path);
  const device = { kind: 'blk', store: description, options: { queues: 4 } } as const;
  const common = { device, listener, poll: 'off', once: false, log: () => {} } as const;
  const daemon = new DeviceDaemon({ ...common, threads });
  return {
    daemon,
    path,
    async [Symbol.asyncDispose]() {
      await daemon.close();
      listener[Symbol.dispose]();
      await store.close?.();
      rmSync(folder, { recursive: true });
    },
  };
}

test('regression: a disk that is stopped before its threads have started ends as any other', async () => {
  // What the first thread of a process opens for good is no leak.
  await using _first = startingDaemon(1);
  await _first.daemon.ready();
  const before = openDescriptors();
  for (const threads of [1, 3]) {
    await using starting = startingDaemon(threads);
    void starting.daemon.close();
    void starting.daemon.close();
    assert.equal((await starting.daemon.closed).requests, 0);
  }
  await eventually('the descriptors of the threads', () => openDescriptors() <= before);
});

test('regression: calls to a disk before its threads have started are answered', async () => {
  await using starting = startingDaemon(3);
  using front = RawFrontEnd.connect(starting.path);
  const [snapshot, report] = await Promise.all([starting.daemon.snapshot(), starting.daemon.report(), front.settle()]);
  assert.deepEqual([snapshot.requests, report], [0, []]);
});

test('regression: calls to a disk that has ended do nothing, and signal no reused descriptor', async () => {
  const starting = startingDaemon(2);
  const { daemon } = starting;
  await daemon.close();
  // Whoever opens something now gets the numbers that were its threads'.
  const bells = Array.from({ length: 32 }, () => EventFd.create());
  void daemon.close();
  daemon.refresh();
  assert.deepEqual(await daemon.report(), []);
  assert.equal((await daemon.snapshot()).requests, 0);
  assert.ok(bells.every((bell) => !bell.clear()));
  for (const bell of bells) bell[Symbol.dispose]();
  await starting[Symbol.asyncDispose]();
});

test('regression: what the driver set up before is replaced by what it sets up now, and not added to', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using front = backEnd.connect();
  const [stale, ring] = [guest.ring(0, FEATURES), guest.ring(0, FEATURES & ~VIRTIO_F_EVENT_IDX)] as const;
  await negotiate(front, FEATURES);
  front.send(setU64(Request.SET_FEATURES, (FEATURES & ~VIRTIO_F_EVENT_IDX) | F_PROTOCOL_FEATURES));
  await front.settle(setMemTable([guest.region]), stale.setNum, stale.setBase(7), stale.setAddress, ...ring.start());
  assert.equal((await ring.serve(read))[0]?.status, 0);
  // EVENT_IDX accepted earlier would make it write avail_event, behind the used ring.
  assert.equal(ring.driver.queue.layout.deviceArea.at(-2), 0);
  assert.equal((await front.ask(ring.getBase)).payload.getUint32(4, true), 1);
});

test('regression: while one queue waits for its last request to stop, the others are served', async () => {
  const gate = gatedDisk();
  await using backEnd = serveDisk(gate.store);
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  const other = guest.ring(1, FEATURES);
  await front.settle(...other.start());
  ring.submit(read);
  await eventually('the read', () => gate.waiting === 1);
  front.send(ring.getBase);
  for (let i = 0; i < 20; i++) assert.equal((await other.serve(blockRequest.getId()))[0]?.status, 0);
  assert.ok(front.isSilent());
  gate.release();
  await front.answer(Request.GET_VRING_BASE);
  assert.equal(ring.driver.harvest().length, 1);
});

test('regression: a kick while a ring is disabled is there when the ring is enabled', async () => {
  for (const features of [FEATURES, FEATURES & ~VIRTIO_F_EVENT_IDX]) {
    await using backEnd = serveDisk();
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest, features);
    const { front, ring } = attached;
    for (let i = 0; i < 20; i++) {
      await front.settle(ring.enable(false));
      ring.submitQuietly(read);
      ring.kick.signal();
      // Answered when the kick has been there for a while.
      await front.settle();
      front.send(ring.enable());
      assert.equal((await ring.results())[0]?.status, 0);
    }
  }
});
