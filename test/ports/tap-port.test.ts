// The tap port, on the kernel's tun driver. The file runs itself again in a network of its own, which leaves nothing here.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, suite, test } from 'node:test';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { TapPort } from '../../src/ports/tap-port.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { eventually } from '../../src/testing/patience.ts';

const INSIDE = 'BELFRY_TEST_NETWORK';
const HEADER = new Uint8Array(12);
const GUEST_MAC = [0x52, 0x54, 0, 0, 0, 1];
const OUR_ADDRESS = [10, 7, 0, 1];
const GUEST_ADDRESS = [10, 7, 0, 2];
const ip = (...words: readonly string[]): unknown => execFileSync('ip', words, { stdio: 'pipe' });

if (process.env[INSIDE] === undefined) outside();
else inside();

function outside(): void {
  const env: NodeJS.ProcessEnv = { ...process.env, [INSIDE]: '1' };
  // Else it would report to the runner of this file, in its format.
  delete env.NODE_TEST_CONTEXT;
  const unshare = process.getuid?.() === 0 ? ['-n'] : ['-Urn'];
  test('a tap, in a network of its own', (t) => {
    const probe = spawnSync('unshare', [...unshare, 'sh', '-c', 'ip tuntap add probe mode tap'], { encoding: 'utf8' });
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

async function boot(name: string): Promise<Guest> {
  const device = new NetDevice({ port: new TapPort(name), mac: Uint8Array.from(GUEST_MAC) });
  const loop = await DeviceLoopback.start(device, { size: 64, memoryBytes: 1 << 22 });
  const [receiveq, transmitq] = loop.queues as [LoopbackQueue, LoopbackQueue];
  return { device, loop, receiveq, transmitq, [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose]() };
}

/** An answer to whoever asks for the guest's address: ARP, RFC 826. */
function arpAnswer(request: Uint8Array): Uint8Array {
  const asker = request.subarray(6, 12);
  const arp = [0, 1, 8, 0, 6, 4, 0, 2, ...GUEST_MAC, ...GUEST_ADDRESS, ...asker, ...OUR_ADDRESS];
  return Uint8Array.of(...asker, ...GUEST_MAC, 8, 6, ...arp, ...new Uint8Array(18));
}

/** The next frame of this EtherType that comes to the guest, with its header. */
async function receivedOf({ receiveq }: Guest, type: number): Promise<{ header: Uint8Array; frame: Uint8Array }> {
  for (;;) {
    const { bytes, written } = await receiveq.request({ writable: [70_000] });
    const frame = bytes.subarray(12, written);
    if (((frame[12] as number) << 8) + (frame[13] as number) === type) return { header: bytes.subarray(0, 12), frame };
  }
}

function inside(): void {
  ip('tuntap', 'add', 'vm0', 'mode', 'tap');
  ip('addr', 'add', `${OUR_ADDRESS.join('.')}/24`, 'dev', 'vm0');
  ip('link', 'set', 'vm0', 'up');
  const udp = createSocket('udp4');
  after(() => udp.close());

  suite('a tap', () => {
    test('frames go both ways, with a partial checksum for the guest, which takes it', async () => {
      await using guest = await boot('vm0');
      assert.deepEqual(guest.loop.lines, [], 'it was there');
      udp.bind(7000);
      await once(udp, 'listening');
      udp.send('hello', 7001, GUEST_ADDRESS.join('.'));
      const { frame: request } = await receivedOf(guest, 0x0806);
      await guest.transmitq.request({ readable: [HEADER, arpAnswer(request)] });
      const { header, frame } = await receivedOf(guest, 0x0800);
      assert.equal(new TextDecoder().decode(frame.subarray(42)), 'hello');
      assert.deepEqual([header[0], header[6], header[8]], [1, 34, 6], 'NEEDS_CSUM, from UDP on, into its checksum');
      // The other way: the same datagram with both ends exchanged, its checksum left to the kernel.
      const back = Uint8Array.of(...request.subarray(6, 12), ...GUEST_MAC, ...frame.subarray(12));
      back.set(
        [...frame.subarray(30, 34), ...frame.subarray(26, 30), ...frame.subarray(36, 38), ...frame.subarray(34, 36)],
        26,
      );
      const answered = once(udp, 'message');
      await guest.transmitq.request({ readable: [header.with(10, 0), back] });
      assert.equal(String((await answered)[0]), 'hello');
      assert.equal(guest.device.counters.droppedPort, 0);
    });

    test('a guest without buffers: frames stay in the queue of the kernel, and come when there is room', async () => {
      await using guest = await boot('vm0');
      const COUNT = 300;
      udp.setBroadcast(true);
      for (let i = 0; i < COUNT; i++) await new Promise((sent) => udp.send(`${i}`, 7001, '10.7.0.255', sent));
      for (let i = 0; i < COUNT; i++) {
        const { frame } = await receivedOf(guest, 0x0800);
        assert.equal(new TextDecoder().decode(frame.subarray(42)), `${i}`);
      }
      assert.equal(guest.device.droppedFrames, 0);
    });

    test('one that is not there is made, and goes away; while it is down the guest’s frames are dropped', async () => {
      {
        await using guest = await boot('vm1');
        assert.deepEqual(guest.loop.lines, ['vm1 is a new tap, and down: "ip link set vm1 up"']);
        await guest.transmitq.request({ readable: [HEADER, new Uint8Array(60)] });
        assert.equal(guest.device.counters.droppedPort, 1);
        assert.throws(() => new TapPort('vm1'), { code: 'EBUSY', message: /vm1 is in use by another process/ });
      }
      assert.throws(() => ip('link', 'show', 'vm1'));
    });

    test('one that is removed while it is used: the link is down, one line is logged, and the guest goes on', async () => {
      await using guest = await boot('vm2');
      ip('link', 'set', 'vm2', 'up');
      ip('link', 'del', 'vm2');
      await eventually('the link is down', () => !guest.device.isLinkUp);
      assert.match(guest.loop.lines.at(-1) as string, /^vm2 is gone, and the link is down: read: /);
      for (let i = 0; i < 10; i++) await guest.transmitq.request({ readable: [HEADER, new Uint8Array(60)] });
      assert.equal(guest.loop.lines.length, 2);
    });

    test('an interface that is no tap: one line that says what to do', () => {
      ip('tuntap', 'add', 'tun0', 'mode', 'tun');
      ip('tuntap', 'add', 'many', 'mode', 'tap', 'multi_queue');
      for (const name of ['tun0', 'many', 'lo'])
        assert.throws(() => new TapPort(name), { message: /^TUNSETIFF: E\w+: .*ip tuntap add/ }, name);
    });
  });
}
