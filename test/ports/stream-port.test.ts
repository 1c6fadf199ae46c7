// The stream port against a peer in this test: framing, partial writes, a peer that does not read, and one that leaves.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { STREAM_FRAME_MAX, UNSENT_BYTES_MAX } from '../../src/ports/frame-stream.ts';
import { StreamPort } from '../../src/ports/stream-port.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { eventually } from '../../src/testing/patience.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-stream-'));
after(() => rmSync(folder, { recursive: true }));
let sockets = 0;
const newPath = (): string => join(folder, `s${sockets++}`);

const HEADER = new Uint8Array(12);
const frameOf = (length: number, seed = 0): Uint8Array => Uint8Array.from({ length }, (_, i) => i + seed);

function framed(...frames: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    frames.flatMap((frame) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(frame.length);
      return [length, frame];
    }),
  );
}

interface Guest extends AsyncDisposable {
  readonly device: NetDevice;
  readonly loop: DeviceLoopback;
  readonly receiveq: LoopbackQueue;
  readonly transmitq: LoopbackQueue;
}

async function boot(port: StreamPort): Promise<Guest> {
  const device = new NetDevice({ port });
  const loop = await DeviceLoopback.start(device, { size: 64, memoryBytes: 1 << 22 });
  const [receiveq, transmitq] = loop.queues as [LoopbackQueue, LoopbackQueue];
  return { device, loop, receiveq, transmitq, [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose]() };
}

/** A server with the connections made to it. */
async function listening(path: string): Promise<{ server: Server; clients: Socket[] }> {
  const clients: Socket[] = [];
  const server = createServer((client) => {
    clients.push(client.on('error', () => {}));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  after(() => {
    server.close();
    for (const client of clients) client.destroy();
  });
  return { server, clients };
}

async function connected(): Promise<{ guest: Guest; peer: Socket; path: string; server: Server; clients: Socket[] }> {
  const path = newPath();
  const { server, clients } = await listening(path);
  const guest = await boot(new StreamPort({ path }));
  await eventually('it connects', () => clients.length === 1);
  return { guest, path, server, clients, peer: clients[0] as Socket };
}

function collect(peer: Socket): () => Buffer {
  const pieces: Buffer[] = [];
  peer.on('data', (piece) => pieces.push(piece as Buffer));
  return () => Buffer.concat(pieces);
}

suite('a stream port', () => {
  test('sends each frame behind its length, in network byte order', async () => {
    const { guest, peer } = await connected();
    await using _guest = guest;
    const received = collect(peer);
    for (const length of [14, 60, 1514]) await guest.transmitq.request({ readable: [HEADER, frameOf(length)] });
    const wanted = framed(frameOf(14), frameOf(60), frameOf(1514));
    await eventually('all bytes', () => received().length === wanted.length);
    assert.deepEqual(received(), wanted);
  });

  test('receives frames wherever the stream is cut', async () => {
    const { guest, peer } = await connected();
    await using _guest = guest;
    const frames = [frameOf(60, 1), frameOf(1514, 2), frameOf(65_000, 3), frameOf(60, 4)];
    const bytes = framed(...frames);
    for (const cut of [1, 3, 4, 5, 70, bytes.length - 1]) {
      for (const _ of frames) guest.receiveq.add({ writable: [70_000] });
      guest.receiveq.kick();
      peer.write(bytes.subarray(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      peer.write(bytes.subarray(cut));
      const used = await guest.receiveq.used(frames.length);
      used.forEach((one, i) => {
        assert.deepEqual(one.bytes.subarray(12, one.written), frames[i]);
      });
    }
  });

  test('a peer that does not read: frames are kept up to a limit, whole, and the rest is dropped; the guest goes on', async () => {
    const { guest, peer } = await connected();
    await using _guest = guest;
    peer.pause();
    const COUNT = 400;
    const length = 9000;
    for (let i = 0; i < COUNT; i++) await guest.transmitq.request({ readable: [HEADER, frameOf(length, i)] });
    const { sentFrames, droppedPort } = guest.device.counters;
    assert.equal(sentFrames + droppedPort, COUNT);
    assert.ok(droppedPort > 0 && sentFrames * (length + 4) > UNSENT_BYTES_MAX - length, `${droppedPort} dropped`);
    const received = collect(peer);
    peer.resume();
    await eventually('what was kept arrives', () => received().length === sentFrames * (length + 4));
    for (let i = 0, at = 0; i < sentFrames; i++, at += length + 4)
      assert.deepEqual(received().subarray(at, at + length + 4), framed(frameOf(length, i)));
    await guest.transmitq.request({ readable: [HEADER, frameOf(60)] });
    await eventually('the next one arrives', () => received().length === sentFrames * (length + 4) + 64);
  });

  test('a peer that leaves while the guest sends: the link is down, one line is logged, and it connects again', async () => {
    const { guest, peer, clients, path } = await connected();
    await using _guest = guest;
    peer.destroy();
    await eventually('the link is down', () => !guest.device.isLinkUp);
    for (let i = 0; i < 100; i++) await guest.transmitq.request({ readable: [HEADER, frameOf(60)] });
    assert.deepEqual(guest.loop.lines.length, 1);
    assert.match(guest.loop.lines[0] as string, new RegExp(`^the connection at ${path} ended, and the link is down: `));
    await eventually('it connects again', () => clients.length === 2);
    await eventually('the link is up', () => guest.device.isLinkUp);
    assert.equal(guest.loop.configChanges, 3, 'down, up, and announce');
    const received = collect(clients[1] as Socket);
    await guest.transmitq.request({ readable: [HEADER, frameOf(60)] });
    await eventually('a frame arrives', () => received().length === 64);
  });

  test('a length that no frame has ends the connection; one that only no network has does not', async () => {
    const { guest, peer, clients } = await connected();
    await using _guest = guest;
    guest.receiveq.add({ writable: [2000] });
    guest.receiveq.kick();
    peer.write(framed(new Uint8Array(), new Uint8Array(13), new Uint8Array(STREAM_FRAME_MAX), frameOf(60)));
    assert.equal((await guest.receiveq.used())[0]?.written, 72);
    assert.equal(guest.device.counters.droppedUnsuitable, 3);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(STREAM_FRAME_MAX + 1);
    peer.write(length);
    await eventually('it is given up', () => guest.loop.lines.length > 0);
    assert.match(guest.loop.lines[0] as string, /a frame of 69633 bytes: is the peer QEMU's/);
    await eventually('it connects again', () => clients.length === 2);
  });

  test('a listening one takes one client after the other', async () => {
    const path = newPath();
    await using guest = await boot(new StreamPort({ path, isListening: true }));
    assert.equal(guest.device.isLinkUp, false);
    for (let i = 0; i < 3; i++) {
      const client = connect(path);
      const received = collect(client);
      await eventually('the link is up', () => guest.device.isLinkUp);
      await guest.transmitq.request({ readable: [HEADER, frameOf(60, i)] });
      await eventually('a frame arrives', () => received().length === 64);
      assert.deepEqual(received(), framed(frameOf(60, i)));
      client.destroy();
      await eventually('the link is down', () => !guest.device.isLinkUp);
    }
  });

  test('two guests over one connection', async () => {
    const path = newPath();
    await using a = await boot(new StreamPort({ path, isListening: true }));
    await using b = await boot(new StreamPort({ path }));
    await eventually('the link is up', () => a.device.isLinkUp);
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const received = to.receiveq.request({ writable: [2000] });
      await from.transmitq.request({ readable: [HEADER, frameOf(1514)] });
      assert.deepEqual((await received).bytes.subarray(12, 1526), frameOf(1514));
    }
  });

  test('nothing listens, no such path, a path that is too long: an error that names it', () => {
    const path = newPath();
    assert.throws(() => new StreamPort({ path }), { code: 'ENOENT' });
    assert.throws(() => new StreamPort({ path: `/tmp/${'x'.repeat(120)}` }), { code: 'ENAMETOOLONG' });
    assert.throws(() => new StreamPort({ path: `${folder}/none/s`, isListening: true }), { code: 'ENOENT' });
  });
});
