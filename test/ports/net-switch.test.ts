// The switch: learning, ageing, bounds, and two guests that talk over it.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { ADDRESSES_MAX, AGE_MS, NetSwitch, type SwitchPort } from '../../src/ports/net-switch.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';

const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const address = (number: number): number[] => [2, 0, 0, 0, number >> 8, number & 0xff];
const HEADER = new Uint8Array(12);

function frame(to: readonly number[], from: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(60);
  bytes.set([...to, ...from, 0x88, 0xb5]);
  return bytes;
}

interface Lan {
  readonly lan: NetSwitch;
  readonly ports: readonly SwitchPort[];
  /** Sends from a port, and returns which ports got it. */
  send(from: number, bytes: Uint8Array): number[];
  /** Milliseconds that have passed. */
  nowMs: number;
}

function lanOf(count: number): Lan {
  const got: number[] = [];
  const lan = new NetSwitch({ now: () => made.nowMs });
  const ports = Array.from({ length: count }, () => lan.port());
  ports.forEach((port, i) => {
    port.onFrame = () => got.push(i) > 0;
  });
  const made: Lan = {
    ...{ lan, ports, nowMs: 0 },
    send(from, bytes) {
      ports[from]?.send(bytes, HEADER);
      return got.splice(0);
    },
  };
  return made;
}

suite('a switch', () => {
  test('floods what it does not know, and learns where each address is', () => {
    const lan = lanOf(3);
    assert.deepEqual(lan.send(0, frame(address(1), address(0))), [1, 2]);
    assert.deepEqual(lan.send(1, frame(address(0), address(1))), [0]);
    assert.deepEqual(lan.send(0, frame(address(1), address(0))), [1]);
    assert.deepEqual(lan.send(2, frame(BROADCAST, address(2))), [0, 1]);
    assert.deepEqual(lan.send(0, frame([1, 0, 0x5e, 0, 0, 1], address(0))), [1, 2]);
  });

  test('does not send a frame back to where it came from', () => {
    const lan = lanOf(2);
    lan.send(0, frame(BROADCAST, address(5)));
    assert.deepEqual(lan.send(0, frame(address(5), address(6))), []);
  });

  test('follows an address that moves', () => {
    const lan = lanOf(3);
    lan.send(0, frame(BROADCAST, address(7)));
    lan.send(1, frame(BROADCAST, address(7)));
    assert.deepEqual(lan.send(2, frame(address(7), address(8))), [1]);
    assert.equal(lan.ports[0]?.addresses.size, 0);
  });

  test('forgets an address that was not seen for five minutes', () => {
    const lan = lanOf(3);
    lan.send(0, frame(BROADCAST, address(7)));
    lan.nowMs = AGE_MS - 1;
    assert.deepEqual(lan.send(1, frame(address(7), address(8))), [0]);
    lan.nowMs = AGE_MS;
    assert.deepEqual(lan.send(1, frame(address(7), address(8))), [0, 2]);
  });

  test('remembers a bounded number of addresses of a port: a guest that makes them up displaces only its own', () => {
    const lan = lanOf(3);
    lan.send(1, frame(BROADCAST, address(1)));
    for (let i = 0; i < 10_000; i++) {
      lan.nowMs++;
      lan.send(0, frame(BROADCAST, address(1000 + i)));
    }
    assert.equal(lan.lan.addresses, ADDRESSES_MAX + 1);
    assert.deepEqual(lan.send(2, frame(address(1), address(2))), [1]);
    assert.deepEqual(lan.send(2, frame(address(10_999), address(2))), [0], 'the newest are kept');
    assert.deepEqual(lan.send(2, frame(address(1000), address(2))), [0, 1], 'the oldest is not');
  });

  test('drops a frame from a multicast address, and one of the link itself', () => {
    const lan = lanOf(2);
    assert.equal(lan.ports[0]?.send(frame(BROADCAST, [1, 0, 0, 0, 0, 1]), HEADER), false);
    assert.equal(lan.ports[0]?.send(frame([1, 0x80, 0xc2, 0, 0, 0x0e], address(1)), HEADER), false);
    assert.deepEqual(lan.send(0, frame([1, 0x80, 0xc2, 0, 0, 0x10], address(1))), [1]);
  });

  test('forgets a port that is closed', () => {
    const lan = lanOf(3);
    lan.send(0, frame(BROADCAST, address(7)));
    lan.ports[0]?.close();
    assert.equal(lan.lan.addresses, 0);
    assert.deepEqual(lan.send(1, frame(address(7), address(8))), [2]);
  });

  test('joins two guests: a partial checksum stays partial for one that takes it, and is completed for one that does not', async () => {
    const lan = new NetSwitch();
    const boot = (features?: bigint) =>
      DeviceLoopback.start(new NetDevice({ port: lan.port() }), features === undefined ? {} : { features });
    await using a = await boot();
    await using b = await boot();
    const VERSION_1 = 1n << 32n;
    await using plain = await boot(VERSION_1);
    const bytes = frame(BROADCAST, address(1));
    const header = Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0);
    const [received, completed] = [b, plain].map((guest) => {
      const queue = guest.queues[0] as LoopbackQueue;
      return queue.request({ writable: [128] });
    });
    await (a.queues[1] as LoopbackQueue).request({ readable: [header, bytes] });
    const taken = await received;
    assert.deepEqual(taken?.bytes.subarray(0, 72), Uint8Array.of(...header.subarray(0, 10), 1, 0, ...bytes));
    const other = await completed;
    assert.deepEqual([...(other?.bytes.subarray(0, 12) ?? [])], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert.deepEqual([...(other?.bytes.subarray(62, 64) ?? [])], [0xff, 0xff]);
  });

  test('a guest without buffers holds up no other', async () => {
    const lan = new NetSwitch();
    await using a = await DeviceLoopback.start(new NetDevice({ port: lan.port() }));
    await using stuck = await DeviceLoopback.start(new NetDevice({ port: lan.port() }));
    await using b = await DeviceLoopback.start(new NetDevice({ port: lan.port() }));
    for (let i = 0; i < 1000; i++) {
      const received = (b.queues[0] as LoopbackQueue).request({ writable: [128] });
      await (a.queues[1] as LoopbackQueue).request({ readable: [HEADER, frame(BROADCAST, address(1))] });
      await received;
    }
    assert.equal((stuck.device as NetDevice).counters.droppedNoBuffer, 1000 - 256);
  });
});
