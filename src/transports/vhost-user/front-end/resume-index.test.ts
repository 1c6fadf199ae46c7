// Where to go on in a ring whose device went away: a right index or none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DriverMemory } from '../../../testing/driver-memory.ts';
import { DriverQueue } from '../../../testing/driver-queue.ts';
import { SeededRandom } from '../../../testing/seeded-random.ts';
import { VIRTIO_F_EVENT_IDX } from '../../../virtio/spec.ts';
import { SplitRing } from '../../../virtio/split/split-ring.ts';
import { resumeIndex } from './resume-index.ts';

const SIZE = 8;

/** A driver, and a device that finishes the requests that the test names. */
class Interrupted {
  readonly driver: DriverQueue;
  readonly ring: SplitRing;
  readonly base: number;
  #used: number;

  constructor(start = 0, features = 0n) {
    const memory = new DriverMemory(new Uint8Array(4096));
    this.driver = new DriverQueue(memory, { size: SIZE, start, features });
    this.ring = new SplitRing(SIZE, this.driver.layout);
    this.base = this.#used = start;
  }

  /** Makes `count` requests available; returns their heads. */
  makeAvailable(count: number): number[] {
    const heads = Array.from({ length: count }, () => this.driver.add([{ address: 0, length: 1, writable: true }]));
    this.driver.publish();
    return heads;
  }

  finish(...heads: readonly number[]): void {
    for (const head of heads) this.ring.setUsed(this.#used++ & 0xffff, head, 1);
    this.ring.setUsedIndex(this.#used & 0xffff);
  }

  resume(eventIdx = false): number | undefined {
    return resumeIndex({ ring: this.ring, eventIdx, base: this.base });
  }
}

for (const start of [0, 5, 0xfffe]) {
  test(`with everything finished, in any order, it goes on with the next request (indices from ${start})`, () => {
    const queue = new Interrupted(start);
    assert.equal(queue.resume(), start);
    const [a, b, c] = queue.makeAvailable(3) as [number, number, number];
    queue.finish(c, a, b);
    assert.equal(queue.resume(), (start + 3) & 0xffff);
  });

  test(`with nothing finished it begins where the device began (indices from ${start})`, () => {
    const queue = new Interrupted(start);
    queue.makeAvailable(SIZE);
    assert.equal(queue.resume(), start);
  });

  test(`what was finished in order is a beginning of what was available (indices from ${start})`, () => {
    const queue = new Interrupted(start);
    for (let done = 0; done < 5 * SIZE; ) {
      for (const head of queue.makeAvailable(3)) queue.finish(head);
      done += queue.driver.harvest(() => {});
    }
    const [a, b] = queue.makeAvailable(4) as [number, number];
    queue.finish(a, b);
    assert.equal(queue.resume(), (start + 5 * SIZE + 2 + 2) & 0xffff);
  });

  test(`what was finished out of order is not guessed (indices from ${start})`, () => {
    const queue = new Interrupted(start);
    const [a, b] = queue.makeAvailable(3) as [number, number];
    queue.finish(b);
    assert.equal(queue.resume(), undefined);
    queue.finish(a);
    assert.equal(
      queue.resume(),
      undefined,
      'the unfinished requests are the last ones now, but the ring does not show it',
    );
  });
}

test('a device that asked to be notified of the next request had taken none beyond what it finished, §2.7.10', () => {
  const queue = new Interrupted(0, VIRTIO_F_EVENT_IDX);
  const [a, b] = queue.makeAvailable(3) as [number, number];
  queue.finish(b, a);
  queue.ring.setAvailEvent(2);
  assert.equal(queue.resume(true), 2);
  queue.ring.setAvailEvent(3);
  assert.equal(queue.resume(true), undefined);
});

test('more unfinished requests than the ring has entries give no index', () => {
  const queue = new Interrupted();
  queue.makeAvailable(SIZE);
  queue.ring.setUsedIndex(0xfff0);
  assert.equal(queue.resume(), undefined);
});

test('whatever a device does, all requests before the returned index are finished, and none after it', () => {
  const outcomes = { resumed: 0, refused: 0 };
  for (let seed = 1; seed <= 2000; seed++) {
    const random = new SeededRandom(seed);
    const queue = new Interrupted(random.below(0x10000));
    const history: number[] = [];
    const finished = new Set<number>();
    const disorder = random.below(4);
    for (let step = random.below(60); step > 0; step--) {
      const free = queue.driver.freeDescriptors;
      if (free > 0) history.push(...queue.makeAvailable(1 + random.below(free)));
      const open = history.flatMap((_, at) => (finished.has(at) ? [] : [at]));
      for (let i = random.below(open.length + 1); i > 0; i--) {
        const [at] = open.splice(random.oneIn(1 + disorder) ? 0 : random.below(open.length), 1) as [number];
        queue.finish(history[at] as number);
        finished.add(at);
      }
      if (random.oneIn(2)) queue.driver.harvest(() => {});
    }
    const index = queue.resume();
    if (index === undefined) {
      outcomes.refused++;
      continue;
    }
    outcomes.resumed++;
    const at = history.length - ((queue.driver.availableIndex - index) & 0xffff);
    const isPrefix = history.every((_, i) => finished.has(i) === i < at);
    // A ring shows its last entries only. Requests out of order before those are all finished, and do not matter.
    assert.ok(isPrefix, `seed ${seed}: it would go on at ${at} of ${history.length}`);
  }
  assert.ok(outcomes.resumed > 100 && outcomes.refused > 100, JSON.stringify(outcomes));
});
