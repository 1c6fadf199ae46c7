// The split queue, for its device: batches, limits, polling, a broken queue.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DriverMemory } from '../../testing/driver-memory.ts';
import { DriverQueue } from '../../testing/driver-queue.ts';
import type { DescriptorChain } from '../descriptor-chain.ts';
import type { DeviceQueue, ExpectBatch, ServeChain } from '../device-queue.ts';
import { DriverError } from '../errors.ts';
import { GuestMemory } from '../guest-memory.ts';
import { InFlightLimit } from '../in-flight-limit.ts';
import type { QueueOptions } from '../ring-format.ts';
import { VIRTIO_F_EVENT_IDX } from '../spec.ts';
import { DRAIN_BYTES, DRAIN_MAX, DRAIN_MS, SplitQueue } from './split-queue.ts';
import { SplitRing } from './split-ring.ts';

// A drain is also limited in time: here the clock advances only where a test does it.
let nowMs = 0;
performance.now = () => nowMs;

interface Rig {
  readonly driver: DriverQueue;
  readonly queue: SplitQueue;
  /** Makes `count` requests of `length` writable bytes; the device sees them at once. */
  add(count?: number, length?: number): void;
  calls(): number;
  /** How often it asked for another drain. */
  agains(): number;
}

/** Drains once; returns how many requests that served. */
function drained(queue: SplitQueue, serve: ServeChain, expect?: ExpectBatch): number {
  const { base } = queue;
  queue.drain(serve, expect);
  return (queue.base - base) & 0xffff;
}

function newRig(size: number, options: Partial<QueueOptions> & { start?: number; memoryBytes?: number } = {}): Rig {
  const { start = 0, features = 0n, memoryBytes = 1 << 17, ...rest } = options;
  const memory = new DriverMemory(new Uint8Array(memoryBytes));
  const driver = new DriverQueue(memory, { size, features, start });
  const buffer = memory.allocate(memoryBytes >> 2);
  let calls = 0;
  const notify = (): void => {
    calls++;
  };
  const guest = new GuestMemory([memory]);
  let agains = 0;
  const again = (): void => {
    agains++;
  };
  const ring = new SplitRing(size, driver.layout);
  const queue = new SplitQueue(ring, guest, { features, base: start, notify, again, ...rest });
  return {
    driver,
    queue,
    calls: () => calls,
    agains: () => agains,
    add(count = 1, length = 4) {
      for (let i = 0; i < count; i++) driver.add([{ address: buffer, length, writable: true }]);
      driver.publish();
    },
  };
}

const useAll: ServeChain = (chain, queue) => queue.markUsed(chain, chain.writable.totalBytes);

function harvested(driver: DriverQueue): number[] {
  const heads: number[] = [];
  driver.harvest((head) => heads.push(head));
  return heads;
}

suite('draining', () => {
  test('everything available is served once, and the driver is notified once', () => {
    const { driver, queue, add, calls } = newRig(8, { features: VIRTIO_F_EVENT_IDX });
    add(5);
    assert.equal(queue.hasWork(), true);
    assert.equal(drained(queue, useAll), 5);
    assert.equal(queue.hasWork(), false);
    assert.equal(drained(queue, useAll), 0);
    assert.deepEqual(harvested(driver), [0, 1, 2, 3, 4]);
    assert.equal(calls(), 1);
    assert.equal(queue.base, 5);
  });

  test('what the driver adds during a drain is served by the same drain', () => {
    const { driver, queue, add } = newRig(8);
    add();
    let served = 0;
    const total = drained(queue, (chain, q) => {
      if (++served < 5) add();
      useAll(chain, q);
    });
    assert.equal(total, 5);
    assert.equal(harvested(driver).length, 5);
  });

  test('a drain ends although the driver never does', () => {
    const { driver, queue, add, agains } = newRig(64);
    add(64);
    const served = drained(queue, (chain, q) => {
      useAll(chain, q);
      q.publish();
      harvested(driver);
      add();
    });
    assert.ok(served >= DRAIN_MAX && served < 2 * DRAIN_MAX, `${served}`);
    assert.equal(queue.hasWork(), true);
    // It does not ask for a kick, but for another drain.
    assert.deepEqual([driver.used[0], agains()], [1, 1]);
  });

  test('regression: the first completion of a long drain does not wait for the last', () => {
    const { driver, queue, add } = newRig(128);
    add(128);
    const seen: number[] = [];
    queue.drain((chain, q) => {
      seen.push(driver.used[1] as number);
      useAll(chain, q);
    });
    // The driver sees the used index move at least every 32 requests.
    seen.forEach((index, request) => {
      assert.ok(request - index <= 32, `${index} were done when request ${request} was served`);
    });
  });

  test('regression: a request of many bytes is shown to the driver before the next one is served', () => {
    const { driver, queue, add } = newRig(32);
    add(8, 1 << 15);
    const seen: number[] = [];
    queue.drain((chain, q) => {
      seen.push(driver.used[1] as number);
      useAll(chain, q);
    });
    // 128 KiB are four of them.
    seen.forEach((index, request) => {
      assert.ok(request - index <= 4, `${index} were done when request ${request} was served`);
    });
  });

  test('regression: while a store is slow no completion waits for the rest of its batch', () => {
    const { driver, queue, add } = newRig(16);
    const seen: number[] = [];
    const slow = (chain: DescriptorChain, q: DeviceQueue): void => {
      nowMs += 0.3;
      seen.push(driver.used[1] as number);
      useAll(chain, q);
    };
    for (let batch = 0; batch < 3; batch++) {
      add(3);
      queue.drain(slow);
    }
    assert.deepEqual(seen, [0, 0, 0, 3, 3, 3, 6, 7, 8]);
  });

  test('regression: a batch that crosses 65535 is served whole', () => {
    const { driver, queue, add } = newRig(64, { start: 65_530 });
    add(41);
    assert.equal(driver.availableIndex, 35);
    assert.equal(queue.hasWork(), true);
    assert.equal(drained(queue, useAll), 41);
    assert.equal(harvested(driver).length, 41);
    assert.equal(queue.base, 35);
  });

  for (const features of [0n, VIRTIO_F_EVENT_IDX]) {
    const name = features === 0n ? 'flags' : 'EVENT_IDX';
    test(`regression: what arrives across 65535 is seen by hasWork and by rearm (${name})`, () => {
      const { queue, add } = newRig(8, { features, start: 65_534 });
      add();
      queue.drain(useAll);
      assert.equal(queue.base, 65_535);
      queue.suppress();
      assert.deepEqual([queue.hasWork(), queue.rearm()], [false, false]);
      queue.suppress();
      add(2);
      assert.deepEqual([queue.hasWork(), queue.rearm()], [true, true]);
    });
  }

  test('it goes on from the base it is given, and from the used index it finds', () => {
    // Two requests were popped before a restart and never completed.
    const { driver, queue, add } = newRig(8, { start: 0xffff });
    driver.used[1] = 0xfffd;
    add(4);
    const memory = new GuestMemory([{ guestAddress: 0, bytes: new Uint8Array(1 << 17) }]);
    const options = { features: 0n, base: 1, notify: () => {}, again: () => {} };
    const next = new SplitQueue(new SplitRing(8, driver.layout), memory, options);
    assert.equal(drained(next, useAll), 2);
    assert.deepEqual([next.base, driver.used[1]], [3, 0xffff]);
    assert.equal(queue.base, 0xffff);
  });
});

suite('what is expected', () => {
  test('each request of a batch is announced before the first of it is served', () => {
    const { queue, add } = newRig(64);
    add(34);
    const seen: string[] = [];
    const total = drained(
      queue,
      (chain, q) => {
        seen.push(`serve ${chain.head}`);
        useAll(chain, q);
      },
      (batch, count) => seen.push(...batch.slice(0, count).map(({ head }) => `expect ${head}`)),
    );
    assert.equal(total, 34);
    const said = (word: string, from: number, count: number) =>
      Array.from({ length: count }, (_, i) => `${word} ${from + i}`);
    const batch = (from: number, count: number) => [...said('expect', from, count), ...said('serve', from, count)];
    assert.deepEqual(seen, [...batch(0, 32), ...batch(32, 2)]);
  });
});

suite('requests that take their time', () => {
  test('each comes back under its own head, in whatever order', () => {
    const { driver, queue, add, calls } = newRig(4);
    const held: DescriptorChain[] = [];
    add(3);
    queue.drain((chain) => held.push(chain));
    assert.equal(queue.inFlight, 3);
    assert.equal(calls(), 0);
    for (const chain of [held[2], held[0]] as DescriptorChain[]) queue.markUsed(chain, 0);
    assert.equal(driver.hasUsed(), false);
    queue.publish();
    assert.deepEqual(harvested(driver), [2, 0]);
    assert.equal(queue.inFlight, 1);
  });

  test('publishing nothing new does not notify the driver', () => {
    const { queue, add, calls } = newRig(4);
    queue.publish();
    add();
    queue.drain(useAll);
    queue.publish();
    assert.equal(calls(), 1);
  });

  test('whenIdle calls back at once when nothing is in flight', () => {
    const { queue } = newRig(4);
    let idle = 0;
    queue.whenIdle(() => idle++);
    assert.equal(idle, 1);
  });

  test('whenIdle calls back when the driver was shown the last one', () => {
    const { driver, queue, add } = newRig(4);
    const held: DescriptorChain[] = [];
    add(2);
    queue.drain((chain) => held.push(chain));
    let seen: number | undefined;
    queue.whenIdle(() => {
      seen = driver.used[1] as number;
    });
    for (const chain of held) {
      assert.equal(seen, undefined);
      queue.markUsed(chain, 0);
      queue.publish();
    }
    assert.equal(seen, 2);
  });
});

suite('a driver that breaks a MUST', () => {
  /** A queue that has served one request when it finds a descriptor with an invalid address. */
  function breakIt(rig: Rig, serve: ServeChain = useAll): void {
    rig.add(2);
    rig.driver.writeDescriptor(1, 2 ** 50, 4, 0, 0);
    assert.throws(() => rig.queue.drain(serve), DriverError);
  }

  test('stops its queue, after what was served before is shown', () => {
    const rig = newRig(4);
    breakIt(rig);
    assert.deepEqual(harvested(rig.driver), [0]);
    assert.equal(rig.calls(), 1);
    // The invalid request was not popped.
    assert.equal(rig.queue.base, 1);
    rig.driver.writeDescriptor(1, 0, 4, 0, 0);
    assert.equal(drained(rig.queue, useAll), 0);
    assert.deepEqual([rig.queue.hasWork(), rig.queue.rearm()], [false, false]);
  });

  test('still gets back what was in flight', () => {
    const rig = newRig(4);
    const held: DescriptorChain[] = [];
    breakIt(rig, (chain) => held.push(chain));
    let idle = false;
    rig.queue.whenIdle(() => {
      idle = true;
    });
    rig.queue.markUsed(held[0] as DescriptorChain, 3);
    rig.queue.publish();
    assert.equal(idle, true);
    assert.deepEqual(harvested(rig.driver), [0]);
  });

  for (const mistake of [new DriverError('§5.2.6.1', 'a request that cannot be'), new TypeError('ours')]) {
    test(`regression: a queue whose device threw ${mistake.name} while serving comes to rest`, () => {
      const { queue, driver, add } = newRig(4);
      add(3);
      const held: DescriptorChain[] = [];
      assert.throws(
        () =>
          queue.drain((chain) => {
            if (held.length === 1) throw mistake;
            held.push(chain);
          }),
        mistake,
      );
      let idle = false;
      queue.whenIdle(() => {
        idle = true;
      });
      assert.equal(idle, false);
      queue.markUsed(held[0] as DescriptorChain, 0);
      queue.publish();
      assert.equal(idle, true);
      assert.deepEqual(harvested(driver), [0]);
    });
  }

  test('what was served before a device threw is shown to the driver', () => {
    const { queue, driver, add } = newRig(8);
    add(5);
    let served = 0;
    const serve: ServeChain = (chain, q) => {
      if (++served === 4) throw new TypeError('ours');
      useAll(chain, q);
    };
    assert.throws(() => queue.drain(serve), TypeError);
    assert.deepEqual(harvested(driver), [0, 1, 2]);
  });

  test('more requests than the queue has room for break it, counting those in flight', () => {
    const { driver, queue, add } = newRig(4);
    add(3);
    queue.drain(() => {});
    driver.available[1] = 5;
    assert.throws(
      () => queue.drain(() => {}),
      (error) => error instanceof DriverError && error.clause === '§2.7.13',
    );
  });
});

suite('polling', () => {
  for (const features of [0n, VIRTIO_F_EVENT_IDX]) {
    const name = features === 0n ? 'flags' : 'EVENT_IDX';
    test(`while polled, no kick is asked for, and rearm asks again (${name})`, () => {
      const { driver, queue, add } = newRig(8, { features });
      queue.drain(useAll);
      add();
      assert.equal(driver.needsKick(), true);
      queue.suppress();
      queue.drain(useAll);
      add(2);
      assert.equal(driver.needsKick(), false);
      // They came while notifications were suppressed.
      assert.equal(queue.rearm(), true);
      queue.drain(useAll);
      assert.equal(queue.rearm(), false);
      add();
      assert.equal(driver.needsKick(), true);
    });
  }
});

suite('what it counts', () => {
  test('requests, batches and calls', () => {
    const { queue, add, calls, driver } = newRig(128);
    add(70);
    queue.drain(useAll);
    harvested(driver);
    driver.suppressCalls();
    add();
    queue.drain(useAll);
    const { requests, batches } = queue.counters;
    assert.deepEqual([requests, queue.counters.calls], [71, calls()]);
    // The driver wanted a call for all but the last, and there were three batches at least.
    assert.equal(batches, calls() + 1);
    assert.ok(batches >= 4 && batches < 10, `${batches}`);
  });

  test('latency: once a batch, and once for each request that completes later; never zero', () => {
    const recorded: number[] = [];
    const latency = { record: (ns: number) => void recorded.push(ns) };
    const { queue, add } = newRig(8, { latency });
    add(3);
    queue.drain(useAll);
    assert.equal(recorded.length, 1);
    const held: DescriptorChain[] = [];
    add(2);
    queue.drain((chain) => held.push(chain));
    for (const chain of held) queue.markUsed(chain, 0);
    assert.equal(recorded.length, 4);
    assert.ok(
      recorded.every((ns) => Number.isInteger(ns) && ns >= 1),
      recorded.join(),
    );
  });
});

suite('a turn is bounded', () => {
  test('regression: many bytes end it, and what was loaded and not served goes back to the ring', () => {
    const { driver, queue, add, agains } = newRig(1024, { memoryBytes: 4 << 20 });
    add(1024, 1 << 20);
    const bytes = drained(queue, useAll) * 2 ** 20;
    assert.ok(bytes >= DRAIN_BYTES && bytes <= DRAIN_BYTES + 2 ** 20, `${bytes} bytes in a turn`);
    assert.equal(agains(), 1);
    for (let turns = 0; queue.base < 1024; turns++) {
      assert.ok(turns < 1024);
      queue.drain(useAll);
    }
    assert.deepEqual(
      harvested(driver),
      Array.from({ length: 1024 }, (_, i) => i),
    );
  });

  test('while the queue is polled the rest stays in the ring for the poller, and no other turn is asked for', () => {
    const { queue, add, agains } = newRig(1024, { memoryBytes: 4 << 20 });
    queue.suppress();
    add(1024, 1 << 20);
    queue.drain(useAll);
    assert.deepEqual([agains(), queue.hasWork()], [0, true]);
    // Polling ends: the poller is told of the rest, and drains it like that of any queue.
    assert.equal(queue.rearm(), true);
    queue.drain(useAll);
    assert.equal(agains(), 1);
  });

  test('regression: a device that is slow ends it, before the batch is done', () => {
    const { queue, add, agains } = newRig(64);
    const slow: ServeChain = (chain, q) => {
      nowMs += 2 * DRAIN_MS;
      useAll(chain, q);
    };
    add(2);
    queue.drain(slow); // it measures
    add(20);
    assert.equal(drained(queue, slow), 1);
    assert.ok(agains() >= 1);
  });

  test('regression: what is in flight is bounded over all queues, and goes on when there is room', () => {
    const inFlight = new InFlightLimit({ requests: 5, bytes: 1 << 20 });
    const rigs = [newRig(16, { inFlight }), newRig(16, { inFlight })] as const;
    const held: [SplitQueue, DescriptorChain][] = [];
    for (const { queue, add } of rigs) {
      add(4);
      queue.drain((chain) => held.push([queue, chain]));
    }
    assert.deepEqual(
      rigs.map(({ queue }) => queue.inFlight),
      [4, 1],
    );
    assert.deepEqual(
      rigs.map(({ agains }) => agains()),
      [0, 0],
    );
    const [queue, chain] = held.shift() as [SplitQueue, DescriptorChain];
    queue.markUsed(chain, 0);
    queue.publish();
    // The queue that waits is called, once.
    assert.deepEqual(
      rigs.map(({ agains }) => agains()),
      [0, 1],
    );
    rigs[1].queue.drain((next) => held.push([rigs[1].queue, next]));
    assert.equal(rigs[1].queue.inFlight, 2);
  });

  test('regression: bytes in flight are bounded, and one request is allowed however large it is', () => {
    const inFlight = new InFlightLimit({ requests: 100, bytes: 1000 });
    const { queue, add } = newRig(16, { inFlight });
    add(2, 4096);
    queue.drain(() => {});
    assert.equal(queue.inFlight, 1);
  });

  test('regression: what a device took before it threw counts towards the limit until it is given back', () => {
    const inFlight = new InFlightLimit({ requests: 5, bytes: 1 << 20 });
    const { queue, add } = newRig(16, { inFlight, broken: () => {} });
    const held: DescriptorChain[] = [];
    add(4);
    queue.drain((chain) => {
      if (held.length === 3) throw new Error('the device is broken');
      held.push(chain);
    });
    assert.deepEqual([queue.inFlight, inFlight.room], [3, 2]);
    for (const chain of held) queue.markUsed(chain, 0);
    queue.publish();
    assert.deepEqual([queue.inFlight, inFlight.room], [0, 5]);
  });

  test('regression: a descriptor that is in flight cannot begin another request', () => {
    const { driver, queue, add } = newRig(8);
    add(1);
    queue.drain(() => {});
    driver.available[2 + 1] = 0;
    driver.available[1] = 2;
    assert.throws(
      () => queue.drain(() => {}),
      (error) => error instanceof DriverError && error.clause === '§2.7.13',
    );
  });
});

suite('buffers that are taken one at a time', () => {
  for (const features of [0n, VIRTIO_F_EVENT_IDX]) {
    const name = features === 0n ? 'flags' : 'EVENT_IDX';
    test(`the first look at an empty ring asks for a kick (${name})`, () => {
      const { driver, queue, add } = newRig(4, { features });
      assert.equal(queue.take(), undefined);
      add(2);
      assert.equal(driver.needsKick(), true);
      const chains = [queue.take(), queue.take(), queue.take()];
      assert.deepEqual(
        chains.map((chain) => chain?.head),
        [0, 1, undefined],
      );
      add();
      assert.equal(driver.needsKick(), true);
    });
  }

  test('what arrives while it looks in vain is found', () => {
    const { queue, driver, add } = newRig(4);
    // The driver has read the flags already: it will not kick.
    driver.used[0] = 1;
    add();
    assert.equal(queue.take()?.head, 0);
  });

  test('one that was not used goes back, and is taken again by whatever runs the ring next', () => {
    const { queue, driver, add } = newRig(4);
    add(3);
    const [first, second, third] = [queue.take(), queue.take(), queue.take()] as DescriptorChain[];
    queue.markUsed(first as DescriptorChain, 3);
    queue.publish();
    assert.throws(() => queue.untake(second as DescriptorChain), /taken last/);
    queue.untake(third as DescriptorChain);
    queue.untake(second as DescriptorChain);
    assert.deepEqual([queue.base, queue.inFlight], [1, 0]);
    assert.deepEqual(harvested(driver), [0]);
    assert.equal(queue.take()?.head, 1);
  });

  test('a device that leaves some in the ring for later asks for another turn', () => {
    const { queue, add, agains } = newRig(4);
    add(2);
    queue.take();
    queue.again();
    assert.equal(agains(), 1);
  });

  test('whenIdle calls back when the last one is put back', () => {
    const { queue, add } = newRig(4);
    add();
    const chain = queue.take() as DescriptorChain;
    let idle = 0;
    queue.whenIdle(() => idle++);
    assert.equal(idle, 0);
    queue.untake(chain);
    assert.equal(idle, 1);
  });

  test('they are no work in progress: they count neither as such nor towards the limit', () => {
    const { queue, add } = newRig(4, { inFlight: new InFlightLimit({ requests: 1, bytes: 1 }) });
    add(3);
    for (let i = 0; i < 3; i++) assert.ok(queue.take());
    assert.deepEqual([queue.inFlight, queue.inService], [3, 0]);
  });

  test('a driver that breaks a MUST breaks the queue, wherever the device takes', () => {
    const problems: Error[] = [];
    const { queue, add, driver } = newRig(4, { broken: (problem) => problems.push(problem) });
    add();
    driver.writeDescriptor(0, 2 ** 50, 4, 0, 0);
    assert.equal(queue.take(), undefined);
    assert.ok(problems[0] instanceof DriverError);
    assert.equal(queue.take(), undefined);
    assert.equal(problems.length, 1);
  });
});

suite('a queue that is closed', () => {
  for (const features of [0n, VIRTIO_F_EVENT_IDX]) {
    const name = features === 0n ? 'flags' : 'EVENT_IDX';
    test(`regression: asks to be kicked when it is rearmed, polled or drained to its limit before (${name})`, () => {
      const { driver, queue, add } = newRig(512, { features });
      add(512);
      queue.drain(useAll);
      queue.suppress();
      queue.close();
      assert.deepEqual([drained(queue, useAll), queue.take(), queue.hasWork()], [0, undefined, false]);
      assert.equal(queue.rearm(), false);
      if (features === 0n) assert.equal(driver.used[0], 0);
      else assert.equal(driver.used[2 + 4 * 512], queue.base);
    });
  }
});
