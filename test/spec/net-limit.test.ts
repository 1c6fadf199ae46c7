// The limits of a network card: never more than the rate and the burst, and nothing lost that the guest sends.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BACKLOG_FRAMES_MAX } from '../../src/devices/net/frame-backlog.ts';
import { type FrameRate, frameLimit } from '../../src/devices/net/frame-limit.ts';
import type { NetDeviceOptions } from '../../src/devices/net/net-config.ts';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { deviceConformance } from '../../src/testing/device-conformance.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { eventually } from '../../src/testing/patience.ts';
import { frameOf, headerOf, RecordingPort } from '../reference/net-guest.ts';

async function boot(options: Partial<NetDeviceOptions>) {
  const port = new RecordingPort();
  const device = new NetDevice({ port, ...options });
  const loop = await DeviceLoopback.start(device, { size: 256, memoryBytes: 1 << 21 });
  const [receiveq, transmitq] = loop.queues as [LoopbackQueue, LoopbackQueue];
  return { port, device, loop, receiveq, transmitq, [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose]() };
}

/** Fails where more than the burst and the rate of `rate` have passed since this was called. */
function meter({ framesPerSecond = Infinity, bytesPerSecond = Infinity, burstSeconds = 1 }: FrameRate, slack: number) {
  const startedMs = performance.now();
  let [frames, bytes] = [0, 0];
  return (length: number): void => {
    frames++;
    bytes += length;
    const seconds = burstSeconds + (performance.now() - startedMs) / 1000;
    assert.ok(frames <= framesPerSecond * seconds + 1, `${frames} frames in ${seconds} s`);
    assert.ok(bytes <= bytesPerSecond * seconds + slack, `${bytes} bytes in ${seconds} s`);
  };
}

const rates: Readonly<Record<string, FrameRate>> = {
  'frames a second': { framesPerSecond: 200, burstSeconds: 0.05 },
  'bytes a second': { bytesPerSecond: 12_000, burstSeconds: 0.05 },
  both: { framesPerSecond: 300, bytesPerSecond: 12_000, burstSeconds: 0.05 },
};

suite('a limit of a network card', () => {
  for (const [what, rate] of Object.entries(rates)) {
    test(`${what}, sending: every frame goes, in order, and never more than that`, async () => {
      const pass = meter(rate, 100);
      await using guest = await boot({ sendLimit: rate });
      for (let i = 0; i < 40; i++) guest.transmitq.add({ readable: [headerOf({}), frameOf(60 + i)] });
      guest.transmitq.kick();
      await guest.transmitq.used(40).then((used) => assert.equal(used.length, 40));
      guest.port.sent.forEach(({ frame }, i) => {
        assert.equal(frame.length, 60 + i);
      });
      // They have all gone by now: at the earliest.
      for (const { frame } of guest.port.sent) pass(frame.length);
      assert.equal(guest.device.droppedFrames, 0);
    });

    test(`${what}, receiving: the port is told to wait, and frames that wait are delivered`, async () => {
      const pass = meter(rate, 100);
      await using guest = await boot({ receiveLimit: rate });
      for (let i = 0; i < 60; i++) guest.receiveq.add({ writable: [128] });
      guest.receiveq.kick();
      // At once: the burst is for ten, on a machine that stands still meanwhile for some more.
      const answers = Array.from({ length: 60 }, () => guest.port.onFrame?.(frameOf(60)));
      assert.ok(answers.includes(false));
      for (let done = 0; done < 60; ) {
        const used = await guest.receiveq.used();
        done += used.length;
        for (const { written } of used) {
          assert.equal(written, 72);
          pass(60);
        }
      }
      await eventually('the port may go on', () => guest.port.resumed > 0);
      assert.equal(guest.device.droppedFrames, 0);
    });
  }

  test('receiving far beyond it: what waits is bounded, and the rest is dropped and counted', async () => {
    await using guest = await boot({ receiveLimit: { framesPerSecond: 1 } });
    for (let i = 0; i < 128; i++) guest.receiveq.add({ writable: [128] });
    guest.receiveq.kick();
    for (let i = 0; i < 1 + BACKLOG_FRAMES_MAX + 50; i++) guest.port.onFrame?.(frameOf(60));
    assert.ok(guest.device.counters.receivedFrames >= 1);
    assert.ok(guest.device.counters.droppedNoBuffer >= 1);
    await eventually('the others have waited too long', () => guest.device.counters.droppedNoBuffer > 250);
  });

  test('a frame larger than the bucket goes, and the next ones wait for it', async () => {
    await using guest = await boot({ sendLimit: { bytesPerSecond: 10_000, burstSeconds: 0.001 } });
    const startedMs = performance.now();
    await guest.transmitq.request({ readable: [headerOf({}), frameOf(1000)] });
    await guest.transmitq.request({ readable: [headerOf({}), frameOf(60)] });
    assert.ok(performance.now() - startedMs >= 95);
    assert.equal(guest.port.sent.length, 2);
  });

  test('the queues stop at once while frames wait for it, and a reset does not lift it', async () => {
    const rate = { framesPerSecond: 1 };
    await using guest = await boot({ sendLimit: rate, receiveLimit: rate });
    for (let i = 0; i < 8; i++) guest.transmitq.add({ readable: [headerOf({}), frameOf()] });
    guest.transmitq.kick();
    await eventually('the first one goes', () => guest.port.sent.length > 0);
    for (let i = 0; i < 8; i++) guest.port.onFrame?.(frameOf());
    await guest.loop.reset();
    assert.ok(guest.port.sent.length < 8);
  });

  for (const rate of [{ framesPerSecond: 0 }, { bytesPerSecond: 1.5 }, { framesPerSecond: 1, burstSeconds: 0 }])
    test(`${JSON.stringify(rate)} is refused`, () => {
      assert.throws(() => frameLimit(rate), RangeError);
      assert.throws(() => new NetDevice({ port: new RecordingPort(), sendLimit: rate }), RangeError);
    });
});

const FRAME = frameOf(42);
const portOf = new WeakMap<NetDevice, RecordingPort>();
deviceConformance('net, with limits that are reached', {
  open: () => {
    const port = new RecordingPort();
    const rate = { framesPerSecond: 2000, burstSeconds: 0.001 };
    const device = new NetDevice({ port, sendLimit: rate, receiveLimit: rate });
    portOf.set(device, port);
    return device;
  },
  queues: [
    { request: () => ({ writable: [128] }), provoke: (device) => portOf.get(device)?.onFrame?.(FRAME) },
    { request: () => ({ readable: [headerOf({}), FRAME] }) },
    { request: () => ({ readable: [Uint8Array.of(0, 0, 1)], writable: [1] }) },
  ],
});
