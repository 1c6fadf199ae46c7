// A queue that runs, with a device that does what it should not: what the queue's user sees, and that it can always be stopped.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { EventLoop } from '../../sys/event-loop.ts';
import { DriverMemory } from '../../testing/driver-memory.ts';
import { DriverQueue } from '../../testing/driver-queue.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import { GuestMemory } from '../../virtio/guest-memory.ts';
import { LocalHost } from './local-host.ts';

const RING_SIZE = 8;

/** One queue of `device` on a loop, and its driver. */
class Bed {
  readonly loop = new EventLoop();
  readonly lines: string[] = [];
  readonly host: LocalHost;
  readonly driver: DriverQueue;
  readonly memory = new DriverMemory(new Uint8Array(1 << 16));

  constructor(t: TestContext, device: Partial<VirtioDevice>) {
    t.after(() => this.loop[Symbol.dispose]());
    const whole = { type: 42, features: 0n, queueSizes: [RING_SIZE], process: () => {}, ...device };
    const guest = new GuestMemory([this.memory]);
    this.host = new LocalHost(whole, this.loop, { log: (line) => void this.lines.push(line), guest });
    this.driver = new DriverQueue(this.memory, { size: RING_SIZE, features: 0n });
  }

  async start(): Promise<void> {
    const fds = { kickFd: undefined, call: undefined, errFd: undefined };
    await this.host.start(0, { size: RING_SIZE, base: 0, features: 0n, ...this.driver.addresses, ...fds });
  }
}

for (const [how, queueStopping] of [
  ['throws', () => assert.fail('it is stuck')],
  ['rejects', () => Promise.reject(new Error('it is stuck'))],
] as const) {
  test(`regression: a device that ${how} when its queue is to stop does not keep the queue from stopping`, async (t) => {
    const bed = new Bed(t, { queueStopping });
    for (let round = 0; round < 2; round++) {
      await bed.start();
      assert.deepEqual(await bed.host.stop(0), { base: 0, broken: false });
    }
    assert.deepEqual(bed.lines, Array(2).fill('queue 0: the device failed to stop it: it is stuck'));
    assert.equal(bed.loop.turn(0), false, 'nothing is left to do');
  });
}

test('regression: no queue starts of a device that failed to start, and it is asked again', async (t) => {
  let failures = 2;
  const start = (): void => {
    if (failures-- > 0) throw new Error('it is stuck');
  };
  const bed = new Bed(t, { start });
  for (let round = 0; round < 2; round++) await assert.rejects(bed.start(), /it is stuck/);
  await bed.start();
  await bed.host.stop(0);
});
