// bench/threads: the device loop never sleeps on work, unless it is told to forget.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { BlockDriver } from '../../src/testing/block-driver.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { DeviceLoop } from './device-loop.ts';
import { OwnedQueue } from './owned-queue.ts';
import { StopWord } from './stop-word.ts';

const READ = blockRequest.read(0, 512);
const store = { sizeBytes: 1 << 20, read: () => {} };

interface Run {
  readonly requests: number;
  readonly wakeUps: number;
  /** Requests that were available, with no kick to come, when the loop went to sleep. */
  readonly slept: number;
}

/** Runs the loop against a driver that makes one more request each time the device has drained, `requests` times. */
function run(requests: number, pollNs: number, forgetful: boolean): Run {
  const memory = new DriverMemory(new Uint8Array(1 << 16));
  const ring = new DriverQueue(memory, { size: 16 });
  const driver = new BlockDriver(memory, ring);
  const stop = new StopWord();
  let left = requests;
  let rung = true;
  let slept = 0;
  const submit = (): void => {
    if (left-- <= 0) return;
    driver.harvest();
    driver.add(READ);
    driver.queue.publish();
    rung = driver.queue.needsKick() || rung;
  };
  class EagerQueue extends OwnedQueue {
    override serve(): void {
      super.serve();
      submit();
    }
  }
  const place = { size: 16, areas: ring.layout, memory: new GuestMemory([memory]) };
  const eager = new EagerQueue(new BlockDevice(store), place, { features: 0n, notify: () => {} });
  const { queue } = eager;
  const doorbell = {
    wait: () => {
      if (queue.hasWork() && !rung) slept++;
      if (!rung) stop.set(true);
      rung = false;
    },
    [Symbol.dispose]: () => {},
  };
  const policy = { pollNs: () => pollNs, waited: () => {} };
  submit();
  const loop = new DeviceLoop({ owned: eager, doorbell, policy, stop, forgetful });
  loop.run();
  return { requests: queue.counters.requests, wakeUps: loop.wakeUps, slept };
}

for (const pollNs of [0, 100_000]) {
  test(`every request is served before the loop sleeps for good, polling for ${pollNs} ns`, () => {
    const { requests, wakeUps, slept } = run(100, pollNs, false);
    assert.deepEqual([requests, slept], [100, 0]);
    assert.ok(pollNs === 0 ? wakeUps >= 100 : wakeUps < 10, `${wakeUps} wake-ups`);
  });
}

test('a forgetful loop goes to sleep on a request that came just before it asked for kicks again', () => {
  const { requests, slept } = run(100, 0, true);
  assert.ok(requests < 100);
  assert.equal(slept, 1);
});
