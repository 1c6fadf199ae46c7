// test/vhost-user: a socket and the front ends that come to it, one after the other, until it is closed.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { SystemError } from '../../src/sys/libc.ts';
import { rideNodeLoop } from '../../src/sys/node-loop.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { addMemReg, eventually, RawFrontEnd, remMemReg, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { LocalHost } from '../../src/transports/queue/local-host.ts';
import { VhostUserServer } from '../../src/transports/vhost-user/back-end/server.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import {
  attach,
  FEATURES,
  gatedDisk,
  makeDisk,
  openDescriptors,
  problemsTo,
  serveDevice,
  serveDisk,
  sharedMappings,
} from './back-end.ts';

const getFeatures = { request: Request.GET_FEATURES };
const read = blockRequest.read(0, 512);

test('one front end is served at a time, the next when it leaves, in the order they came', async () => {
  await using backEnd = serveDisk();
  const fronts = Array.from({ length: 5 }, () => {
    const front = backEnd.connect();
    front.send(getFeatures);
    return front;
  });
  for (const [i, front] of fronts.entries()) {
    await front.answer(Request.GET_FEATURES);
    for (const later of fronts.slice(i + 1)) assert.ok(later.isSilent());
    front[Symbol.dispose]();
  }
  assert.deepEqual(backEnd.lines, []);
});

test('a front end that leaves with requests in flight is waited for, then the next is served', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk(disk.store);
  using guest = new RawGuest();
  const attached = await attach(backEnd, guest);
  attached.ring.submit(read, read);
  await eventually('the reads', () => disk.waiting === 2);
  attached[Symbol.dispose]();
  using next = backEnd.connect();
  next.send(getFeatures);
  // Time: silence is listened to.
  await setTimeout(20);
  assert.ok(next.isSilent());
  disk.release();
  await next.answer(Request.GET_FEATURES);
  assert.equal(attached.ring.driver.harvest().length, 2);
});

test('regression: close() answers the requests that were popped, and closes the connection after that', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk(disk.store);
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  ring.submit(read, read);
  await eventually('the reads', () => disk.waiting === 2);
  const closed = backEnd.server.close();
  // No message is read any more, so that no ring starts again.
  front.send(ring.enable());
  // Time: silence is listened to.
  await setTimeout(20);
  assert.ok(front.isSilent());
  assert.equal(ring.driver.harvest().length, 0);
  disk.release();
  assert.equal(await front.receive(), undefined);
  assert.equal(ring.driver.harvest().length, 2);
  await closed;
  assert.deepEqual(backEnd.lines, []);
});

test('close() while a message is handled answers it first', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk(disk.store);
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  ring.submit(read);
  await eventually('the read', () => disk.waiting === 1);
  front.send(ring.getBase);
  await eventually('the queue stops', async () => (await backEnd.server.report())[0]?.runs === 'stopping');
  const closed = backEnd.server.close();
  disk.release();
  await front.answer(ring.getBase.request);
  assert.equal(await front.receive(), undefined);
  await closed;
});

test('with `once`, everything is closed when the first front end has left', async () => {
  await using backEnd = serveDevice(makeDisk(), { once: true });
  const front = backEnd.connect();
  await front.settle();
  front[Symbol.dispose]();
  await backEnd.server.closed;
  assert.ok(!existsSync(backEnd.path));
});

test('close() without a front end removes the socket at once', async () => {
  await using backEnd = serveDisk();
  assert.ok(existsSync(backEnd.path));
  await backEnd.server.close();
  assert.ok(!existsSync(backEnd.path));
  assert.throws(() => backEnd.connect(), { code: 'ENOENT' });
  await backEnd.server.close();
});

test('close() ends a session that runs; a front end that waits is disconnected', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  using waiting = backEnd.connect();
  await attached.ring.serve(read);
  await backEnd.server.close();
  await attached.front.closedByPeer();
  await waiting.closedByPeer();
  assert.deepEqual(backEnd.lines, []);
  assert.equal((await backEnd.server.snapshot()).requests, 1);
});

test('close() finishes what is in flight, and takes no more', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk(disk.store);
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  const { ring } = attached;
  ring.submit(read, read, read);
  await eventually('the reads', () => disk.waiting === 3);
  const closed = backEnd.server.close();
  ring.submit(read);
  // Time: silence is listened to.
  await setTimeout(20);
  assert.equal(disk.waiting, 3);
  disk.release();
  await closed;
  const results = ring.driver.harvest();
  assert.deepEqual(
    results.map(({ status }) => status),
    [0, 0, 0],
  );
  const before = guest.memory.bytes.slice();
  // Time: silence is listened to.
  await setTimeout(20);
  assert.deepEqual(guest.memory.bytes, before);
});

test('regression: close() waits for a session that is ending already', async () => {
  const disk = gatedDisk();
  await using backEnd = serveDisk(disk.store);
  using guest = new RawGuest();
  const attached = await attach(backEnd, guest);
  attached.ring.submit(read);
  await eventually('the read', () => disk.waiting === 1);
  attached[Symbol.dispose]();
  // Time: silence is listened to.
  await setTimeout(10);
  let isClosed = false;
  const closed = backEnd.server.close().then(() => {
    isClosed = true;
  });
  // Time: silence is listened to.
  await setTimeout(20);
  assert.ok(!isClosed, 'it says that it is closed while a request may still write to guest memory');
  disk.release();
  await closed;
  assert.equal(attached.ring.driver.harvest().length, 1);
  assert.equal(sharedMappings(), 1, 'but for that of the test');
});

test('regression: close() while a message waits for requests answers it, and keeps no descriptor', async () => {
  for (const kind of ['GET_VRING_BASE', 'SET_VRING_KICK', 'ADD_MEM_REG', 'SET_MEM_TABLE'] as const) {
    using guest = new RawGuest();
    using more = new RawGuest({ guestAddress: 256 << 20 });
    const ring = guest.ring(0, FEATURES);
    const before = openDescriptors();
    {
      const disk = gatedDisk();
      await using backEnd = serveDisk(disk.store);
      using attached = await attach(backEnd, guest);
      attached.ring.submit(read);
      await eventually('the read', () => disk.waiting === 1);
      const message = {
        GET_VRING_BASE: ring.getBase,
        SET_VRING_KICK: ring.setKick,
        ADD_MEM_REG: addMemReg(more.region),
        SET_MEM_TABLE: setMemTable([guest.region, more.region]),
      }[kind];
      const answered = kind === 'GET_VRING_BASE' ? attached.front.ask(message) : attached.front.acknowledged(message);
      // Time: silence is listened to.
      await setTimeout(10);
      const closed = backEnd.server.close();
      // Time: silence is listened to.
      await setTimeout(10);
      disk.release();
      await answered;
      await closed;
      assert.equal(attached.ring.driver.harvest().length, 1);
      assert.deepEqual(backEnd.lines, []);
    }
    // The ring that `attach` made has three of its own.
    await eventually(`the descriptors of ${kind}`, () => openDescriptors() === before + 3);
  }
});

test('sessions leave no descriptor and no mapping behind', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  const session = async (): Promise<void> => {
    const { front, ring } = await attach(backEnd, guest);
    const more = { ...guest.region, guestAddress: 1 << 30 };
    await front.settle(ring.setErr, ring.setErr, ring.setCall, addMemReg(more), remMemReg(more), addMemReg(more));
    await ring.serve(read);
    front[Symbol.dispose]();
    ring[Symbol.dispose]();
    using next = backEnd.connect();
    await next.settle();
  };
  await session();
  const descriptors = openDescriptors();
  assert.equal(sharedMappings(), 1, 'but for that of the test');
  for (let i = 0; i < 100; i++) await session();
  await eventually('the last session', () => openDescriptors() <= descriptors + 1);
  assert.equal(sharedMappings(), 1);
});

test('regression: a front end for whom there is no descriptor waits until there is one, for one line', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-accept-'));
  const path = join(folder, 'device.sock');
  using loop = new EventLoop();
  const device = makeDisk();
  const lines: string[] = [];
  const log = problemsTo(lines);
  const listener = UnixListener.listen(path);
  const accept = listener.accept.bind(listener);
  let looks = 0;
  let isShort = true;
  listener.accept = () => {
    looks++;
    if (isShort) throw new SystemError('accept4', 'EMFILE', 'raise the limit');
    return accept();
  };
  const closed = Promise.withResolvers<void>();
  const server = new VhostUserServer(listener, new LocalHost(device, loop, { log }), loop, {
    log,
    onClosed: closed.resolve,
  });
  using _ride = rideNodeLoop(loop);
  {
    using front = RawFrontEnd.connect(path);
    const startedMs = performance.now();
    await eventually('it is looked at again', () => looks > 1);
    // Readable all the time, and looked at once a second.
    assert.ok(looks <= 2 + (performance.now() - startedMs) / 1000, `${looks} looks`);
    isShort = false;
    await front.settle();
    assert.deepEqual(lines, ['a front end waits: accept4: EMFILE: raise the limit; tried again every second']);
  }
  {
    using next = RawFrontEnd.connect(path);
    await next.settle();
    server.close();
  }
  await closed.promise;
  assert.equal(lines.length, 1);
  rmSync(folder, { recursive: true });
});

test('many front ends that come and go at once are all served', async () => {
  await using backEnd = serveDisk();
  for (let i = 0; i < 30; i++) {
    const fronts = Array.from({ length: 8 }, () => backEnd.connect());
    for (const front of fronts.filter((_, n) => n % 3 !== 0)) front[Symbol.dispose]();
    for (const front of fronts.filter((_, n) => n % 3 === 0)) {
      await front.settle();
      front[Symbol.dispose]();
    }
  }
  assert.deepEqual(backEnd.lines, []);
});
