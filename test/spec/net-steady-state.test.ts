// In steady state a frame costs the heap nothing but the views of its bytes, and no promise.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapStatistics } from 'node:v8';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { RECEIVEQ, TRANSMITQ } from '../../src/devices/net/spec.ts';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import type { DeviceContext } from '../../src/virtio/device.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';
import { RecordingPort } from '../reference/net-guest.ts';

const BATCH = 32;
const FRAMES = 100 * BATCH;
const LENGTH = 1514;
/** Rounds until the compiler has settled; the first that is good enough ends it. */
const ROUNDS_MAX = 200;
/** Less than any object a frame could still make, more than what a batch and the measurement cost. */
const SLACK_BYTES = 40;

/** Bytes the heap gave out while `run` ran, for each frame. */
function allocated(run: () => void): number {
  const before = getHeapStatistics().total_allocated_bytes;
  run();
  return (getHeapStatistics().total_allocated_bytes - before) / FRAMES;
}

class SilentPort extends RecordingPort {
  override send(): void {}
}

function framesOf(index: number): { readonly run: () => void; readonly moved: () => number } {
  const memory = new DriverMemory(new Uint8Array(1 << 18));
  const driver = new DriverQueue(memory, { size: 64, features: VIRTIO_F_EVENT_IDX });
  const port = new SilentPort();
  const device = new NetDevice({ port });
  device.attach({ soon() {} } as unknown as DeviceContext);
  device.start(device.features | VIRTIO_F_EVENT_IDX);
  const options = { features: VIRTIO_F_EVENT_IDX, notify() {}, again() {} };
  const queue = splitFormat.open(64, driver.layout, new GuestMemory([memory]), options);
  device.queueStarted(index, queue);
  const buffers = Array.from({ length: BATCH }, () => [
    { address: memory.allocate(LENGTH + 12), length: LENGTH + 12, writable: index === RECEIVEQ },
  ]);
  const frame = new Uint8Array(LENGTH);
  const header = new Uint8Array(12);
  const onUsed = (): void => {};
  const run = (): void => {
    for (let done = 0; done < FRAMES; done += BATCH) {
      for (const buffer of buffers) driver.add(buffer);
      driver.publish();
      device.process(index, queue);
      if (index === RECEIVEQ) for (let i = 0; i < BATCH; i++) port.onFrame?.(frame, header);
      queue.publish();
      driver.harvest(onUsed);
      driver.requestCalls();
    }
  };
  return { run, moved: () => device.counters.sentFrames + device.counters.receivedFrames };
}

for (const [name, index, views] of [
  ['a frame of the guest', TRANSMITQ, 2],
  ['a frame for the guest', RECEIVEQ, 1],
] as const) {
  test(`${name} allocates ${views === 1 ? 'one view' : 'two views'} and nothing else`, () => {
    const bytes = new Uint8Array(1 << 12);
    const keep: unknown[] = [undefined];
    const { run, moved } = framesOf(index);
    const least = { frame: Number.POSITIVE_INFINITY, view: Number.POSITIVE_INFINITY };
    let rounds = 0;
    while (rounds++ < ROUNDS_MAX) {
      const view = (): void => {
        for (let i = 0; i < FRAMES; i++) keep[0] = new Uint8Array(bytes.buffer, i % 64, 64);
      };
      least.view = Math.min(least.view, allocated(view));
      least.frame = Math.min(least.frame, allocated(run));
      if (rounds > 10 && least.frame < views * least.view + SLACK_BYTES) break;
    }
    const said = `${least.frame.toFixed(1)} bytes a frame, ${least.view.toFixed(1)} a view`;
    assert.ok(least.view > 40, said);
    assert.ok(least.frame < views * least.view + SLACK_BYTES, said);
    assert.equal(moved() % FRAMES, 0, 'every frame was moved');
    assert.ok(moved() > 0);
  });
}
