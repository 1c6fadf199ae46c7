// bench/load: the driver's ring arithmetic, alone and against Belfry's device side.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import type { RunnableQueue } from '../../src/virtio/ring-format.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';
import { DriverRing, passed } from './driver-ring.ts';
import { planQueue } from './queue-plan.ts';
import { RequestSlots } from './request-slots.ts';

const GUEST_BASE = 0x4000_0000;

/** A queue of four slots, with `SplitQueue` as its device side in the same memory. */
function queuePair(eventIdx: boolean): {
  ring: DriverRing;
  slots: RequestSlots;
  device: RunnableQueue;
  /** Serves all available requests. */
  serve: () => void;
  calls: () => number;
} {
  const plan = planQueue(0, { depth: 4, blockBytes: 512, segmentBytesMax: 512 });
  const bytes = new Uint8Array(plan.end);
  const part = (at: number, length: number): Uint8Array<ArrayBuffer> => bytes.subarray(at, at + length);
  const { size } = plan;
  const areas = {
    descriptorArea: part(plan.descriptorArea, 16 * size),
    driverArea: part(plan.driverArea, 6 + 2 * size),
    deviceArea: part(plan.deviceArea, 6 + 8 * size),
  };
  let calls = 0;
  let isTurnOver = false;
  const device = splitFormat.open(size, areas, new GuestMemory([{ guestAddress: GUEST_BASE, bytes }]), {
    features: VIRTIO_F_VERSION_1 | (eventIdx ? VIRTIO_F_EVENT_IDX : 0n),
    notify: () => calls++,
    again: () => {
      isTurnOver = true;
    },
  });
  // A drain ends early where the machine is busy.
  const serve = (): void => {
    do {
      isTurnOver = false;
      device.drain((chain, queue) => queue.markUsed(chain, chain.writable.totalBytes));
    } while (isTurnOver);
  };
  const ring = new DriverRing(bytes, plan, eventIdx);
  return { ring, slots: new RequestSlots(bytes, plan, GUEST_BASE), device, serve, calls: () => calls };
}

test('§2.7.7.2 an event is passed exactly when it is within the step, also where the index wraps', () => {
  for (const start of [0, 1, 0x7fff, 0xfffe, 0xffff]) {
    for (let step = 1; step <= 5; step++) {
      const inStep = Array.from({ length: step }, (_, i) => (start + i) & 0xffff);
      for (let distance = -6; distance <= 6; distance++) {
        const event = (start + distance) & 0xffff;
        assert.equal(
          passed(event, start, (start + step) & 0xffff),
          inStep.includes(event),
          `${start} ${step} ${event}`,
        );
      }
    }
  }
});

for (const eventIdx of [true, false]) {
  const how = eventIdx ? 'with' : 'without';

  test(`${how} EVENT_IDX every request comes back once, over two rounds of the 16-bit index`, () => {
    const { ring, slots, serve, calls } = queuePair(eventIdx);
    const idle = [0, 1, 2, 3];
    ring.suppress();
    for (let done = 0; done < 2 * 65536 + 10; ) {
      const batch = 1 + (done % 4);
      for (let i = 0; i < batch; i++) ring.push(slots.heads[idle.shift() as number] as number);
      ring.publish();
      serve();
      assert.equal(ring.completed(), batch);
      for (let i = 0; i < batch; i++) {
        idle.push(slots.slotOf[ring.usedId(i)] as number);
        assert.equal(ring.usedLength(i), 513);
      }
      assert.equal(new Set(idle).size, 4);
      ring.take(batch);
      ring.suppress();
      done += batch;
    }
    // With EVENT_IDX a device always notifies of its first used element: it has no earlier index to compare with.
    assert.ok(calls() <= 1, `${calls()} notifications although none was asked for`);
  });

  test(`${how} EVENT_IDX the device is notified only while it asks for it`, () => {
    const { ring, slots, device, serve } = queuePair(eventIdx);
    ring.push(slots.heads[0] as number);
    assert.ok(ring.publish());
    assert.ok(!ring.publish(), 'nothing new was made available');
    device.suppress();
    serve();
    ring.push(slots.heads[1] as number);
    assert.ok(!ring.publish());
    assert.ok(device.rearm(), '`rearm` reports requests that came while kicks were suppressed');
    serve();
    ring.push(slots.heads[2] as number);
    assert.ok(ring.publish());
  });

  test(`${how} EVENT_IDX rearming reports what was used meanwhile, and requests a call for the next`, () => {
    const { ring, slots, serve, calls } = queuePair(eventIdx);
    const use = (head: number): void => {
      ring.push(slots.heads[head] as number);
      ring.publish();
      serve();
    };
    ring.suppress();
    use(0);
    const before = calls();
    assert.equal(ring.rearm(), 1);
    ring.take(1);
    assert.equal(ring.rearm(), 0);
    use(1);
    assert.equal(calls(), before + 1);
  });
}
