// A running queue with a misbehaving device: what is logged, and that the queue can always be stopped.
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { EventFd } from '../../sys/event-fd.ts';
import { EventLoop } from '../../sys/event-loop.ts';
import type { Pollable } from '../../sys/pollable.ts';
import { DriverMemory } from '../../testing/driver-memory.ts';
import { DriverQueue } from '../../testing/driver-queue.ts';
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { GuestMemory } from '../../virtio/guest-memory.ts';
import { VIRTIO_F_EVENT_IDX } from '../../virtio/spec.ts';
import { LocalHost } from './local-host.ts';

const RING_SIZE = 8;

/** One queue of `device` on an event loop, and its driver. */
class Bed {
  readonly loop = new EventLoop();
  readonly lines: string[] = [];
  readonly host: LocalHost;
  readonly driver: DriverQueue;
  readonly memory = new DriverMemory(new Uint8Array(1 << 16));
  readonly #features: bigint;

  constructor(t: TestContext, device: Partial<VirtioDevice>, features = 0n) {
    t.after(() => this.loop[Symbol.dispose]());
    const whole = { type: 42, features: 0n, queueSizes: [RING_SIZE], process: () => {}, ...device };
    const guest = new GuestMemory([this.memory]);
    this.host = new LocalHost(whole, this.loop, { log: (line) => void this.lines.push(line), guest });
    this.driver = new DriverQueue(this.memory, { size: RING_SIZE, features });
    this.#features = features;
  }

  async start(kickFd?: number): Promise<void> {
    const fds = { kickFd, call: undefined, errFd: undefined };
    await this.host.start(0, { size: RING_SIZE, base: 0, features: this.#features, ...this.driver.addresses, ...fds });
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

test('regression: no queue starts while the device fails to start, and each attempt starts the device again', async (t) => {
  let failures = 2;
  const start = (): void => {
    if (failures-- > 0) throw new Error('it is stuck');
  };
  const bed = new Bed(t, { start });
  for (let round = 0; round < 2; round++) await assert.rejects(bed.start(), /it is stuck/);
  await bed.start();
  await bed.host.stop(0);
});

test('regression: a stopping queue logs what it waits for, less and less often, and aborts the signal of its requests', async (t) => {
  let held: { readonly chain: DescriptorChain; readonly queue: DeviceQueue } | undefined;
  const bed = new Bed(t, {
    process: (_, queue) => queue.drain((chain) => (held = { chain, queue })),
  });
  await bed.start();
  bed.driver.add([{ address: bed.memory.allocate(16), length: 16, writable: true }]);
  bed.driver.publish();
  bed.loop.turn(0);
  assert.ok(held !== undefined);
  const timers: { readonly delayMs: number; readonly task: () => void }[] = [];
  t.mock.method(bed.loop, 'timer', (delayMs: number, task: () => void) => {
    timers.push({ delayMs, task });
    return { [Symbol.dispose]: () => {} };
  });
  const stopped = bed.host.stop(0);
  for (let i = 0; i < 3; i++) timers.findLast(({ delayMs }) => delayMs === 1000 * 2 ** i)?.task();
  assert.deepEqual(
    timers.map(({ delayMs }) => delayMs),
    [1000, 5000, 2000, 4000, 8000],
  );
  assert.equal(bed.lines.length, 3);
  assert.match(
    bed.lines[0] as string,
    /^queue 0 is to stop, and has waited \d+ s for 1 requests that its device has not/,
  );
  const { chain, queue } = held;
  assert.equal(queue.signal.aborted, false);
  timers[1]?.task();
  assert.equal(queue.signal.aborted, true);
  queue.markUsed(chain, 0);
  queue.publish();
  assert.deepEqual(await stopped, { base: 1, broken: false });
});

test('regression: a kick that cannot be watched fails the start, leaves nothing on the loop, and the queue can be started again', async (t) => {
  let calls = 0;
  const bed = new Bed(t, { process: () => void calls++ });
  const file = openSync('/dev/null', 'r');
  t.after(() => closeSync(file));
  for (let round = 0; round < 3; round++) await assert.rejects(bed.start(file), /^SystemError: epoll_ctl: EPERM/);
  assert.equal(bed.loop.turn(0), false);
  assert.equal(calls, 0, 'no task was left');
  assert.deepEqual(bed.host.report(), []);
  await bed.start();
  assert.deepEqual(await bed.host.stop(0), { base: 0, broken: false });
});

test('regression: a burst of kicks on a ring that stays full costs the thread one turn of that queue at a time', async (t) => {
  let turns = 0;
  // The state of a queue whose driver refills it as fast as it is served.
  const bed = new Bed(t, {
    process: (_, queue) => {
      turns++;
      queue.again();
    },
  });
  using kick = EventFd.create();
  await bed.start(kick.fd);
  const counts: number[] = [];
  for (let round = 0; round < 50; round++) {
    kick.signal();
    turns = 0;
    assert.equal(bed.loop.turn(0), true);
    counts.push(turns);
  }
  // One turn for the kick, one for the `again` of the turn before.
  assert.deepEqual([...new Set(counts)], [2]);
  await bed.host.stop(0);
});

test('regression: a queue that is stopped while it is polled leaves a ring that requests kicks', async (t) => {
  const bed = new Bed(t, {}, VIRTIO_F_EVENT_IDX);
  const polled = t.mock.method(bed.loop, 'poll');
  await bed.start();
  const isKickWanted = (): boolean => {
    bed.driver.add([{ address: 0, length: 16, writable: true }]);
    bed.driver.publish();
    return bed.driver.needsKick();
  };
  const [running] = polled.mock.calls.map((call) => call.arguments[0] as Pollable);
  running?.suppress();
  const { base } = await bed.host.stop(0);
  assert.deepEqual([base, isKickWanted()], [0, true]);
});

test('regression: a stop that the last request ends has the loop let its promise settle before it sleeps', async (t) => {
  let held: { readonly chain: DescriptorChain; readonly queue: DeviceQueue } | undefined;
  const bed = new Bed(t, {
    isSettled: true,
    process: (_, queue) => queue.drain((chain) => (held = { chain, queue })),
  });
  await bed.start();
  bed.driver.add([{ address: bed.memory.allocate(16), length: 16, writable: true }]);
  bed.driver.publish();
  bed.loop.turn(0);
  const stopped = bed.host.stop(0);
  await new Promise((resolve) => setImmediate(resolve));
  const wakeUps = t.mock.fn();
  bed.loop.onTask = wakeUps;
  held?.queue.markUsed(held.chain, 0);
  held?.queue.publish();
  assert.equal(wakeUps.mock.callCount(), 1);
  assert.deepEqual(await stopped, { base: 1, broken: false });
});
