// test/examples: the devices: what each does, and that each passes the conformance suite.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { shareRunningCopy } from '../../src/daemon/running-copy.ts';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { deviceConformance } from '../../src/testing/device-conformance.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { eventually } from '../../src/testing/patience.ts';
import { frameOf, headerOf, RecordingPort } from '../reference/net-guest.ts';

// As the command line does before it loads a device.
shareRunningCopy();
const { default: counter } = await import('../../examples/counter.ts');
const { default: echo } = await import('../../examples/echo.ts');
const { default: echoConsole } = await import('../../examples/echo-console.ts');
const { recorded } = await import('../../examples/packet-recorder.ts');
const { Stopwatch } = await import('../../examples/stopwatch.ts');
const { default: thermometer } = await import('../../examples/thermometer.ts');

const folder = mkdtempSync(join(tmpdir(), 'belfry-examples-'));
after(() => rmSync(folder, { recursive: true }));
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = ({ bytes, written }: { readonly bytes: Uint8Array; readonly written: number }): string =>
  new TextDecoder().decode(bytes.subarray(0, written));

deviceConformance('examples/echo.ts', {
  open: () => echo,
  queues: [
    {
      request: () => ({ readable: [bytesOf('hello')], writable: [8] }),
      check: (used) => assert.equal(textOf(used), 'hello'),
    },
  ],
});

// Its configuration space must not change by itself while the suite compares it.
deviceConformance('examples/stopwatch.ts', {
  open: () => new Stopwatch(3_600_000),
  queues: [{ request: () => ({ readable: [Uint8Array.of(0)] }) }],
});

test('examples/stopwatch.ts counts, notifies the driver, and restarts at a request', async () => {
  await using loop = await DeviceLoopback.start(new Stopwatch(1));
  await eventually('it counts', () => loop.config().getUint32(0, true) >= 3);
  assert.ok(loop.configChanges >= 3);
  await loop.reset();
  await eventually('it counts after a reset', () => loop.config().getUint32(0, true) >= 1);

  await using slow = await DeviceLoopback.start(new Stopwatch(3_600_000));
  new DataView(slow.device.config?.bytes.buffer as ArrayBuffer).setUint32(0, 5, true);
  await slow.queues[0]?.request({ readable: [Uint8Array.of(0)] });
  assert.equal(slow.config().getUint32(0, true), 0);
});

test('examples/counter.ts counts lines in its configuration space, and notifies the driver', async () => {
  await using loop = await DeviceLoopback.start(counter());
  const [, transmit] = loop.queues as [LoopbackQueue, LoopbackQueue];
  assert.equal(loop.config().getUint16(2, true), 0);
  await transmit.request({ readable: [bytesOf('one\ntwo\nthr')] });
  await transmit.request({ readable: [bytesOf('ee\n')] });
  assert.equal(loop.config().getUint16(2, true), 3);
  assert.equal(loop.configChanges, 2);
});

test('examples/echo-console.ts gives back what it is sent', async () => {
  await using loop = await DeviceLoopback.start(echoConsole());
  const [receive, transmit] = loop.queues as [LoopbackQueue, LoopbackQueue];
  const answer = receive.request({ writable: [64] });
  await transmit.request({ readable: [bytesOf('hello')] });
  assert.equal(textOf(await answer), 'hello');
});

test('examples/thermometer.ts answers a question, and reports an error of its sensor', async () => {
  const sensor = join(folder, 'temp');
  await using loop = await DeviceLoopback.start(thermometer(sensor));
  const [receive, transmit] = loop.queues as [LoopbackQueue, LoopbackQueue];
  const ask = async (): Promise<string> => {
    const answer = receive.request({ writable: [128] });
    await transmit.request({ readable: [bytesOf('?\n')] });
    return textOf(await answer);
  };
  writeFileSync(sensor, '48312\n');
  assert.equal(await ask(), '48.3 °C\n');
  rmSync(sensor);
  assert.match(await ask(), /^ENOENT: no such file .*\n$/);
  await transmit.request({ readable: [bytesOf('no question')] });
  assert.deepEqual(receive.harvest(), []);
  assert.throws(() => thermometer(undefined), /set SENSOR/);
});

test('examples/packet-recorder.ts passes frames on, both ways, and writes what Wireshark opens', async () => {
  const file = join(folder, 'guest.pcap');
  const next = new RecordingPort();
  await using loop = await DeviceLoopback.start(new NetDevice({ port: recorded(next, file) }));
  const [receive, transmit] = loop.queues as [LoopbackQueue, LoopbackQueue];
  await transmit.request({ readable: [headerOf({}), frameOf(60)] });
  assert.deepEqual(next.sent[0]?.frame, frameOf(60));
  const received = receive.request({ writable: [200] });
  next.onFrame?.(frameOf(101));
  assert.deepEqual((await received).bytes.subarray(12, 113), frameOf(101));
  next.onLink?.(false);
  assert.equal((loop.device as NetDevice).isLinkUp, false);

  const bytes = readFileSync(file);
  assert.deepEqual([bytes.readUInt32LE(0), bytes.readUInt16LE(4), bytes.readUInt16LE(6)], [0xa1b23c4d, 2, 4]);
  let at = 24;
  for (const frame of [frameOf(60), frameOf(101)]) {
    const [seconds, nanoseconds, kept, whole] = [0, 4, 8, 12].map((field) => bytes.readUInt32LE(at + field));
    assert.ok(Math.abs((seconds as number) - Date.now() / 1000) < 3600 && (nanoseconds as number) < 1e9);
    assert.deepEqual([kept, whole], [frame.length, frame.length]);
    assert.deepEqual(Uint8Array.from(bytes.subarray(at + 16, at + 16 + frame.length)), frame);
    at += 16 + frame.length;
  }
  assert.equal(at, bytes.length);
});
