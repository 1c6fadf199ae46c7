// test/vhost-user: sessions of a disk whose queues run on several threads.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { DeviceDaemon } from '../../src/daemon/device-daemon.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { UnixListener, UnixSocket } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { addMemReg, eventually, RawFrontEnd, remMemReg, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { BackendRequest, Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { pattern } from '../reference/array-store.ts';
import { FEATURES, negotiate, openDescriptors, sharedMappings } from './back-end.ts';
import { serveByThreads, type ThreadedBackEnd } from './threads.ts';

interface Attached extends Disposable {
  readonly front: RawFrontEnd;
  readonly rings: readonly RawRing[];
}

/** A front end with four rings that run. */
async function attach(backEnd: ThreadedBackEnd, guest: RawGuest): Promise<Attached> {
  const front = backEnd.connect();
  const rings = [0, 1, 2, 3].map((index) => guest.ring(index, FEATURES));
  await negotiate(front);
  await front.settle(setMemTable([guest.region]), ...rings.flatMap((ring) => [...ring.start(), ring.setErr]));
  return { front, rings, [Symbol.dispose]: () => front[Symbol.dispose]() };
}

/** Writes a sector through a ring, and reads it back through another. */
async function assertServes(through: RawRing, back: RawRing, sector: number): Promise<void> {
  const data = pattern(512, sector);
  assert.equal((await through.serve(blockRequest.write(sector, data)))[0]?.status, 0);
  const [result] = await back.serve(blockRequest.read(sector, 512));
  assert.deepEqual(result?.data, data);
}

// What the first thread of a process opens for good is no leak.
before(async () => {
  await using backEnd = await serveByThreads(2);
  await backEnd.daemon.close();
});

for (const threads of [1, 2, 3, 4]) {
  test(`${threads} threads serve one disk through four queues, count together and end together`, async () => {
    const before = openDescriptors();
    {
      await using backEnd = await serveByThreads(threads);
      using guest = new RawGuest();
      using attached = await attach(backEnd, guest);
      const { front, rings } = attached;
      for (let i = 0; i < 16; i++) await assertServes(rings[i % 4] as RawRing, rings[(i + (i >> 2)) % 4] as RawRing, i);
      const { requests, bytesRead, bytesWritten, kicks, calls } = await backEnd.daemon.snapshot();
      assert.deepEqual([requests, bytesRead, bytesWritten], [32, 16 * 512, 16 * 512]);
      assert.ok(kicks > 0 && calls > 0);
      for (const ring of rings) {
        assert.equal((await front.ask(ring.getBase)).payload.getUint32(4, true), ring.driver.queue.availableIndex);
        await front.settle(...ring.start(ring.driver.queue.availableIndex));
      }
      await assertServes(rings[0] as RawRing, rings[3] as RawRing, 100);

      void backEnd.daemon.close();
      await front.closedByPeer();
      assert.equal((await backEnd.daemon.closed).requests, 34);
      assert.deepEqual(backEnd.lines, []);
    }
    await eventually('the descriptors of the threads', () => openDescriptors() <= before);
  });
}

test('every look at the counts is answered, also when several look at once', async () => {
  await using backEnd = await serveByThreads(2);
  const snapshots = await Promise.all([1, 2, 3].map(() => backEnd.daemon.snapshot()));
  assert.deepEqual(snapshots, [snapshots[0], snapshots[0], snapshots[0]]);
  await backEnd.daemon.close();
  // And after the end.
  assert.deepEqual(await backEnd.daemon.snapshot(), snapshots[0]);
});

test('a driver that breaks a MUST loses its queue on whichever thread, for one line and for good', async () => {
  await using backEnd = await serveByThreads(3);
  using guest = new RawGuest();
  using more = new RawGuest({ guestAddress: 256 << 20 });
  using attached = await attach(backEnd, guest);
  const { front, rings } = attached;
  const lines: string[] = [];
  for (const ring of rings.slice(0, 3)) {
    const { queue } = ring.driver;
    queue.available[2] = 999;
    Atomics.store(queue.available, 1, 1);
    ring.kick.signal();
    await eventually('the error', () => ring.err.clear());
    lines.push(`queue ${ring.index} stopped`);
  }
  await front.settle(addMemReg(more.region), remMemReg(more.region));
  const good = rings[3] as RawRing;
  await assertServes(good, good, 5);
  // Time: silence is listened to.
  await setTimeout(20);
  assert.deepEqual(backEnd.lines.map((line) => line.slice(0, 15)).sort(), lines);
  for (const ring of rings.slice(0, 3)) {
    assert.equal((await front.ask(ring.getBase)).payload.getUint32(4, true), 0);
    const fresh = guest.ring(ring.index, FEATURES);
    await front.settle(...fresh.start());
    await assertServes(fresh, good, 6);
  }
});

test('memory that cannot be mapped ends the session, on several threads too', async () => {
  await using backEnd = await serveByThreads(3);
  for (let i = 1; i <= 3; i++) {
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest);
    const readOnly = { ...guest.region, guestAddress: 1 << 30, sizeBytes: 100, fd: 0 };
    const { openSync, closeSync } = await import('node:fs');
    const fd = openSync(`/proc/self/fd/${guest.region.fd}`, 'r');
    attached.front.send(addMemReg({ ...readOnly, fd }));
    closeSync(fd);
    await attached.front.closedByPeer();
    await eventually('the line', () => backEnd.lines.length === i);
    assert.match(backEnd.lines.at(-1) as string, /^session ended: ADD_MEM_REG: mmap: EACCES/);
  }
});

test('sessions on three threads leave no descriptor and no mapping behind', async () => {
  await using backEnd = await serveByThreads(3);
  const session = async (): Promise<{ descriptors: number; mappings: number }> => {
    {
      using guest = new RawGuest();
      using attached = await attach(backEnd, guest);
      const [first, last] = [attached.rings[0] as RawRing, attached.rings[3] as RawRing];
      await assertServes(first, last, 1);
    }
    using next = backEnd.connect();
    await next.settle();
    return { descriptors: openDescriptors(), mappings: sharedMappings() };
  };
  const before = await session();
  for (let i = 0; i < 20; i++) await session();
  assert.deepEqual(await session(), before);
});

test('with `once`, all threads end when the first front end has left', async () => {
  await using backEnd = await serveByThreads(2, { once: true });
  {
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest);
    const ring = attached.rings[1] as RawRing;
    await assertServes(ring, ring, 1);
  }
  assert.equal((await backEnd.daemon.closed).requests, 2);
});

test('regression: the front end is notified of an image that grew when every thread serves its new end', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-grow-'));
  const image = join(folder, 'disk.img');
  writeFileSync(image, new Uint8Array(64 * 1024));
  {
    await using backEnd = await serveByThreads(2, { spec: image });
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest);
    const { front, rings } = attached;
    const [kept, theirs] = UnixSocket.pair();
    using ours = RawFrontEnd.adopt(kept.fd);
    await front.settle({ request: Request.SET_BACKEND_REQ_FD, fds: [theirs.fd] });
    theirs[Symbol.dispose]();
    for (const ring of rings) assert.equal((await ring.serve(blockRequest.read(128, 512)))[0]?.status, 1);
    truncateSync(image, 128 * 1024);
    backEnd.daemon.refresh();
    assert.equal((await ours.receive())?.request, BackendRequest.CONFIG_CHANGE_MSG);
    for (const ring of rings.toReversed()) {
      const [result] = await ring.serve(blockRequest.read(255, 512));
      assert.equal(result?.status, 0, `queue ${ring.index}`);
    }
    assert.ok(ours.isSilent());
  }
  rmSync(folder, { recursive: true });
});

for (const poll of ['auto', 50] as const)
  test(`queues are served while they are polled (--poll ${poll})`, async () => {
    await using backEnd = await serveByThreads(2, { poll });
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest);
    const { front, rings } = attached;
    for (let i = 0; i < 200; i++) await assertServes(rings[i % 4] as RawRing, rings[(i + 1) % 4] as RawRing, i);
    // A message while the loop polls is handled.
    await front.settle();
    for (const ring of rings) assert.equal((await front.ask(ring.getBase)).payload.getUint32(4, true), 100);
  });

for (const features of [FEATURES, FEATURES & ~VIRTIO_F_EVENT_IDX])
  test(`no request is lost as the loop falls asleep (${features === FEATURES ? 'EVENT_IDX' : 'flags'})`, async () => {
    await using backEnd = await serveByThreads(1, { poll: 20 });
    using guest = new RawGuest();
    using front = backEnd.connect();
    const ring = guest.ring(0, features);
    await negotiate(front, features);
    await front.settle(setMemTable([guest.region]), ...ring.start());
    const random = new SeededRandom(7);
    const { queue } = ring.driver;
    for (let i = 0; i < 4000; i++) {
      // From well within the polling to well within the sleep.
      const untilMs = performance.now() + random.below(60) / 1000;
      while (performance.now() < untilMs);
      ring.submit(blockRequest.getId());
      for (const endMs = performance.now() + 5000; !queue.hasUsed(); )
        assert.ok(performance.now() < endMs, `request ${i} was lost`);
      ring.driver.harvest();
    }
    const { requests, kicks } = await backEnd.daemon.snapshot();
    assert.equal(requests, 4000);
    assert.ok(kicks > 10, `${kicks} kicks: it never slept`);
  });

test('when threads cannot open the store every promise rejects with the reason', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-threads-'));
  const { store, description } = openStore('mem:1M');
  const listener = UnixListener.listen(join(folder, 'disk.sock'));
  const daemon = new DeviceDaemon({
    device: { kind: 'blk', store: { ...description, fd: 99_999 }, options: {} },
    listener,
    threads: 2,
    poll: 'off',
    once: false,
    log: () => {},
  });
  await assert.rejects(daemon.ready(), /EBADF/);
  await assert.rejects(daemon.closed, /EBADF/);
  listener[Symbol.dispose]();
  await store.close?.();
  rmSync(folder, { recursive: true });
});

/** The epoll set of a thread that owns nothing but queues: it watches its timers and two wake-ups, under the first tokens. */
function findQueueThreadLoop(): number {
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      const watched = readFileSync(`/proc/self/fdinfo/${name}`, 'utf8').matchAll(/^tfd:.*data: +([0-9a-f]+)/gm);
      if (
        [...watched]
          .map(([, token]) => token)
          .sort()
          .join() === '1,2,3'
      )
        return Number(name);
    } catch {
      // The descriptor of the folder that was read.
    }
  }
  throw new Error('no such thread');
}

test('regression: a thread that fails ends the others, and is reported', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-threads-'));
  const path = join(folder, 'disk.sock');
  const { store, description } = openStore('mem:1M');
  const listener = UnixListener.listen(path);
  const device = { kind: 'blk', store: description, options: { queues: 4 } } as const;
  const common = { device, listener, poll: 'off', once: false, log: () => {} } as const;
  const daemon = new DeviceDaemon({ ...common, threads: 2 });
  await daemon.ready();
  using front = RawFrontEnd.connect(path);
  await front.settle();
  // Its next wait fails.
  closeFd(findQueueThreadLoop());
  daemon.snapshot().catch(() => {});
  // It waits for the end of each; a thread that went on would keep the process.
  await assert.rejects(daemon.closed, /epoll_wait: E/);
  listener[Symbol.dispose]();
  await store.close?.();
  rmSync(folder, { recursive: true });
});

test("regression: the listening socket stays its owner's when the threads have ended", async () => {
  await using backEnd = await serveByThreads(1);
  const described = readlinkSync(`/proc/self/fd/${backEnd.listenFd}`);
  await backEnd.daemon.close();
  assert.equal(readlinkSync(`/proc/self/fd/${backEnd.listenFd}`), described);
});

test('a disk can be started and ended many times', async () => {
  const before = openDescriptors();
  for (let i = 0; i < 8; i++) {
    await using backEnd = await serveByThreads(1 + (i % 3));
    // Sometimes in the middle of a session.
    if (i % 2 === 0) continue;
    using guest = new RawGuest();
    using attached = await attach(backEnd, guest);
    attached.rings[1]?.submit(blockRequest.read(0, 512));
  }
  await eventually('the descriptors of the threads', () => openDescriptors() <= before);
});
