// bench/threads: the loop that a signal wakes never sleeps on available requests, unless its device is forgetful.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import type { VirtioDevice } from '../../src/virtio/device.ts';
import { DriverRing } from '../load/driver-ring.ts';
import { RequestSlots } from '../load/request-slots.ts';
import { ForgetfulDevice } from './forgetful-device.ts';
import { GUEST_BASE, memoryBytesOf, planOnlyQueue } from './ring-memory.ts';
import { SleepCounter, startQueue } from './served-queue.ts';
import { StopWord } from './shared-queue.ts';
import { SignalLoop } from './signal-loop.ts';

const disk = new BlockDevice({ sizeBytes: 1 << 20, read: () => {} });

interface Run {
  readonly requests: number;
  readonly wakeUps: number;
  /** Times the loop went to sleep with a request in the ring and no kick pending. */
  readonly slept: number;
}

/** Runs the loop against a driver that makes one more request each time the device has drained, `requests` in all. */
async function run(requests: number, pollNs: number, isForgetful: boolean): Promise<Run> {
  const plan = planOnlyQueue(1, 512);
  using memory = Mapping.anonymous(memoryBytesOf([plan]));
  const ring = new DriverRing(memory.bytes, plan, false);
  const slots = new RequestSlots(memory.bytes, plan, GUEST_BASE);
  const stop = new StopWord();
  let made = 0;
  let rung = false;
  let slept = 0;
  const submit = (): void => {
    if (made >= requests) return;
    ring.take(ring.completed());
    slots.prepare(0, false, 0);
    ring.push(slots.heads[0] as number);
    made++;
    rung = ring.publish() || rung;
  };
  const eager: VirtioDevice = {
    ...{ type: disk.type, features: disk.features, queueSizes: disk.queueSizes, config: disk.config },
    process(index, queue) {
      disk.process(index, queue);
      submit();
    },
  };
  const doorbell = {
    wait: () => {
      if (made > counters.requests && !rung) slept++;
      if (!rung) stop.set(true);
      rung = false;
    },
    [Symbol.dispose]: () => {},
  };
  const sleeps = new SleepCounter({ pollNs: () => pollNs, waited: () => {} });
  using loop = new SignalLoop(doorbell, stop, sleeps);
  const device = isForgetful ? new ForgetfulDevice(eager) : eager;
  submit();
  const counters = startQueue(loop, { device, memory, plan, eventIdx: false, kickFd: -1, call: () => {} });
  await loop.run();
  return { requests: counters.requests, wakeUps: sleeps.wakeUps, slept };
}

for (const pollNs of [0, 100_000]) {
  test(`every request is served before the loop sleeps for good, polling for ${pollNs} ns`, async () => {
    const { requests, wakeUps, slept } = await run(100, pollNs, false);
    assert.deepEqual([requests, slept], [100, 0]);
    assert.ok(pollNs === 0 ? wakeUps >= 100 : wakeUps < 10, `${wakeUps} wake-ups`);
  });
}

test('a forgetful device goes to sleep on a request that came just before it asked for kicks again', async () => {
  const { requests, slept } = await run(100, 0, true);
  assert.ok(requests < 100);
  assert.equal(slept, 1);
});
