// The packet port, on a tap whose other end another guest has. The file runs itself again in a network of its own.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { suite, test } from 'node:test';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import type { NetPort } from '../../src/devices/net/net-port.ts';
import { PacketPort } from '../../src/ports/packet-port.ts';
import { TapPort } from '../../src/ports/tap-port.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { eventually } from '../../src/testing/patience.ts';
import { frameOf, headerOf } from '../reference/net-guest.ts';

const INSIDE = 'BELFRY_TEST_NETWORK';
const ip = (words: string): unknown => execFileSync('ip', words.split(' '), { stdio: 'pipe' });

if (process.env[INSIDE] === undefined) outside();
else inside();

function outside(): void {
  const env: NodeJS.ProcessEnv = { ...process.env, [INSIDE]: '1' };
  // Else it would report to the runner of this file, in its format.
  delete env.NODE_TEST_CONTEXT;
  const unshare = process.getuid?.() === 0 ? ['-n'] : ['-Urn'];
  test('packet sockets, in a network of their own', (t) => {
    const probe = spawnSync('unshare', [...unshare, 'sh', '-c', 'ip tuntap add probe mode tap'], {
      encoding: 'utf8',
    });
    if (probe.status !== 0) return t.skip(`no network with a tap: ${probe.stderr ?? probe.error?.message}`);
    const words = [...unshare, process.execPath, '--disable-warning=ExperimentalWarning', import.meta.filename];
    const { status, stdout, stderr } = spawnSync('unshare', words, { env, encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}${stderr}`);
    assert.match(stdout, /# pass [1-9]|ℹ pass [1-9]/);
  });
}

interface Guest extends AsyncDisposable {
  readonly device: NetDevice;
  readonly loop: DeviceLoopback;
  readonly receiveq: LoopbackQueue;
  readonly transmitq: LoopbackQueue;
}

async function boot(port: NetPort): Promise<Guest> {
  const device = new NetDevice({ port });
  const loop = await DeviceLoopback.start(device, { size: 64, memoryBytes: 1 << 22 });
  const [receiveq, transmitq] = loop.queues as [LoopbackQueue, LoopbackQueue];
  return { device, loop, receiveq, transmitq, [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose]() };
}

/** The next frame of the tests' own EtherType: the kernel sends frames of its own, such as for IPv6. */
async function received({ receiveq }: Guest): Promise<{ header: Uint8Array; frame: Uint8Array }> {
  for (;;) {
    const { bytes, written } = await receiveq.request({ writable: [70_000] });
    const frame = bytes.subarray(12, written);
    if (frame[12] === 0x88 && frame[13] === 0xb5) return { header: bytes.subarray(0, 12), frame };
  }
}

/** The next frame of this length, with its header. */
async function receivedOf({ receiveq }: Guest, length: number): Promise<Uint8Array> {
  for (;;) {
    const { bytes, written } = await receiveq.request({ writable: [70_000] });
    if (written === 12 + length) return bytes.subarray(0, written);
  }
}

/** A TCP segment of 3000 bytes over IPv4, to be cut into pieces of 1000, with a partial checksum; of the tests’ type. */
const LARGE = headerOf({ flags: 1, gsoType: 1, hdrLen: 54, gsoSize: 1000, csumStart: 34, csumOffset: 16 });

function makeTap(name: string): void {
  ip(`tuntap add ${name} mode tap`);
  ip(`link set ${name} up`);
}

function inside(): void {
  suite('a packet socket', () => {
    test('a guest on an interface, and one at the tap behind it: frames go both ways, to any address, and no guest hears itself', async () => {
      makeTap('v0');
      await using a = await boot(new PacketPort('v0'));
      await using b = await boot(new TapPort('v0'));
      for (let i = 0; i < 20; i++) {
        const frame = frameOf(60 + i, { to: [0x52, 0x54, 0, 0, 1, i] });
        await a.transmitq.request({ readable: [headerOf({}), frame] });
        assert.deepEqual((await received(b)).frame, frame);
        await b.transmitq.request({ readable: [headerOf({}), frame] });
        assert.deepEqual((await received(a)).frame, frame);
      }
      assert.deepEqual([a.device.counters.droppedPort, b.device.counters.droppedPort], [0, 0]);
      // 20 frames of each, and none of its own: the counts tell, after the last one came.
      assert.ok(a.device.counters.sentFrames === 20 && b.device.counters.sentFrames === 20);
    });

    test('two guests at the ends of a veth pair', async (t) => {
      const words = ['link', 'add', 'v6', 'type', 'veth', 'peer', 'name', 'v7'];
      if (spawnSync('ip', words).status !== 0) return t.skip('this kernel has no veth');
      for (const name of ['v6', 'v7']) ip(`link set ${name} up`);
      await using a = await boot(new PacketPort('v6'));
      await using b = await boot(new PacketPort('v7'));
      await a.transmitq.request({ readable: [headerOf({}), frameOf(77)] });
      assert.deepEqual((await received(b)).frame, frameOf(77));
      await b.transmitq.request({ readable: [headerOf({}), frameOf(78)] });
      assert.deepEqual((await received(a)).frame, frameOf(78));
    });

    test('a segment of 3000 bytes with a partial checksum arrives whole, with its header, both ways', async () => {
      makeTap('v2');
      await using a = await boot(new PacketPort('v2'));
      await using b = await boot(new TapPort('v2'));
      const frame = frameOf(54 + 3000, { type: [8, 0] });
      frame.set([0x45, 0, (3040 >> 8) & 0xff, 3040 & 0xff, 0, 0, 0x40, 0, 64, 6], 14);
      frame[46] = 0x50;
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        await from.transmitq.request({ readable: [LARGE, frame] });
        assert.equal(from.device.counters.droppedPort, 0);
        const bytes = await receivedOf(to, frame.length);
        assert.deepEqual(bytes.subarray(12), frame);
        assert.deepEqual([bytes[0], bytes[1], bytes[4], bytes[5]], [1, 1, 1000 & 0xff, 1000 >> 8]);
      }
    });

    test('one that goes down: a line, and it goes on when it is up; one that is removed: the link is down', async () => {
      makeTap('v4');
      await using a = await boot(new PacketPort('v4'));
      await using b = await boot(new TapPort('v4'));
      ip('link set v4 down');
      await eventually('the line', () => a.loop.lines.includes('v4 is down: "ip link set v4 up"'));
      await a.transmitq.request({ readable: [headerOf({}), frameOf()] });
      assert.equal(a.device.counters.droppedPort, 1);
      ip('link set v4 up');
      await b.transmitq.request({ readable: [headerOf({}), frameOf(99)] });
      assert.equal((await received(a)).frame.length, 99);
      ip('link del v4');
      await eventually('the link is down', () => !a.device.isLinkUp && !b.device.isLinkUp);
      assert.match(a.loop.lines.at(-1) as string, /^v4 is gone, and the link is down$/);
    });

    test('regression: one that is removed, and another of its name made, is gone as well: the link is down', async () => {
      makeTap('v8');
      await using a = await boot(new PacketPort('v8'));
      ip('link del v8');
      makeTap('v8');
      await eventually('the link is down', () => !a.device.isLinkUp);
      assert.match(a.loop.lines.at(-1) as string, /^v8 is gone, and the link is down$/);
    });

    test('an interface that is not there: one line', () => {
      assert.throws(() => new PacketPort('none'), { code: 'ENODEV', message: /there is no interface none: "ip link"/ });
    });
  });
}
