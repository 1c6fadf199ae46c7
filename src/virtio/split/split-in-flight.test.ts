// The record of requests in flight: a process killed between any two stores leaves what the next one needs.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DriverMemory } from '../../testing/driver-memory.ts';
import { DriverQueue } from '../../testing/driver-queue.ts';
import { SeededRandom } from '../../testing/seeded-random.ts';
import type { DescriptorChain } from '../descriptor-chain.ts';
import { GuestMemory } from '../guest-memory.ts';
import { SplitInFlight, splitInFlightBytes } from './split-in-flight.ts';
import { SplitQueue } from './split-queue.ts';
import { SplitRing } from './split-ring.ts';

const SIZE = 8;

function newRing(start = 0): { driver: DriverQueue; ring: SplitRing; memory: DriverMemory } {
  const memory = new DriverMemory(new Uint8Array(1 << 16));
  const driver = new DriverQueue(memory, { size: SIZE, start });
  return { driver, ring: new SplitRing(SIZE, driver.layout), memory };
}

const copyOf = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes.slice();

/** Constructs with typed arrays that call `onStore` after each store. */
function watched<T>(onStore: () => void, construct: () => T): T {
  const originals = { Uint8Array, Uint16Array, Uint32Array };
  for (const [name, Original] of Object.entries(originals)) {
    const Watched = new Proxy(Original, {
      construct: (target, args) => {
        const array = Reflect.construct(target, args) as Uint8Array;
        if (!(args[0] instanceof ArrayBuffer)) return array; // not shared memory
        return new Proxy(array, {
          get: (real, key) => Reflect.get(real, key),
          set: (real, key, value) => {
            Reflect.set(real, key, value);
            onStore();
            return true;
          },
        });
      },
    });
    Object.assign(globalThis, { [name]: Watched });
  }
  try {
    return construct();
  } finally {
    Object.assign(globalThis, originals);
  }
}

/** A process with a record, and a model of what is in flight. */
class Killable {
  readonly #random: SeededRandom;
  readonly #ring: SplitRing;
  readonly #driver: DriverQueue;
  readonly #area = new Uint8Array(splitInFlightBytes(SIZE));
  /** In the order in which they were popped; used and not published ones too. */
  #inFlight: number[] = [];
  #used: number[] = [];
  /** Being popped, or put back: the next process may see it either way. */
  #moving: number | undefined;
  #usedIndex: number;
  #availableIndex: number;
  #record: SplitInFlight;
  kills = 0;

  constructor(seed: number, start: number) {
    this.#random = new SeededRandom(seed);
    const { ring, driver } = newRing(start);
    this.#ring = ring;
    this.#driver = driver;
    this.#usedIndex = this.#availableIndex = start;
    this.#record = watched(
      () => this.#kill(),
      () => new SplitInFlight(this.#ring, this.#area),
    );
    assert.deepEqual(this.#record.recover(), { heads: [] });
  }

  /** What a process that starts now would find. */
  #kill(): void {
    this.kills++;
    const area = copyOf(this.#area);
    const before = copyOf(area);
    const found = new SplitInFlight(this.#ring, area).recover();
    const isPublished = this.#ring.usedIndex() !== this.#usedIndex;
    const certain = this.#inFlight.filter((head) => !(isPublished && this.#used.includes(head)));
    const heads = found.heads.filter((head) => head !== this.#moving);
    assert.equal(found.problem, undefined);
    assert.deepEqual(
      heads,
      certain.filter((head) => head !== this.#moving),
      `${before}`,
    );
    if (found.heads.length > heads.length) assert.equal(found.heads.at(-1), this.#moving, 'it was popped last');
    // What recovers may be killed as well: recovering again finds the same.
    assert.deepEqual(new SplitInFlight(this.#ring, area).recover(), found);
  }

  #pop(): void {
    const free = Array.from({ length: SIZE }, (_, head) => head).filter((head) => !this.#inFlight.includes(head));
    if (free.length === 0) return;
    const head = this.#random.of(free);
    this.#driver.available[1] = this.#availableIndex = (this.#availableIndex + 1) & 0xffff;
    this.#moving = head;
    this.#record.popped(head);
    this.#moving = undefined;
    this.#inFlight.push(head);
    this.#kill();
  }

  #putBack(): void {
    const head = this.#inFlight.at(-1);
    if (head === undefined || this.#used.includes(head)) return;
    this.#moving = head;
    this.#record.unpopped(head);
    this.#inFlight.pop();
    this.#moving = undefined;
    this.#driver.available[1] = this.#availableIndex = (this.#availableIndex - 1) & 0xffff;
    this.#kill();
  }

  #use(): void {
    const candidates = this.#inFlight.filter((head) => !this.#used.includes(head));
    if (candidates.length === 0) return;
    const head = this.#random.of(candidates);
    this.#record.used(head);
    this.#used.push(head);
    this.#kill();
  }

  #publish(): void {
    const next = (this.#usedIndex + this.#used.length) & 0xffff;
    this.#ring.setUsedIndex(next);
    this.#kill();
    this.#record.published(next);
    this.#kill();
    this.#inFlight = this.#inFlight.filter((head) => !this.#used.includes(head));
    this.#used = [];
    this.#usedIndex = next;
  }

  /** The next process goes on with the same area. */
  #restart(): void {
    this.#used = [];
    this.#record = watched(
      () => this.#kill(),
      () => new SplitInFlight(this.#ring, this.#area),
    );
    const { heads } = this.#record.recover();
    assert.deepEqual(heads, this.#inFlight);
    for (const head of heads) this.#record.popped(head);
    this.#kill();
  }

  step(): void {
    const dice = this.#random.below(20);
    if (dice < 8) this.#pop();
    else if (dice < 14) this.#use();
    else if (dice < 17) this.#publish();
    else if (dice < 19) this.#putBack();
    else this.#restart();
  }
}

suite('SplitInFlight', () => {
  for (const start of [0, 65530]) {
    test(`whatever store was the last one of a killed process, the next one finds its requests; from ${start} on`, () => {
      let kills = 0;
      for (let seed = 1; seed <= 40; seed++) {
        const world = new Killable(seed, start);
        for (let i = 0; i < 200; i++) world.step();
        kills += world.kills;
      }
      assert.ok(kills > 10_000, `${kills}`);
    });
  }

  /** An area with requests 5, 1 and 3 in flight, popped in this order, on a ring that has `outstanding`. */
  function areaWith(outstanding: number): { area: Uint8Array<ArrayBuffer>; ring: SplitRing } {
    const { driver, ring } = newRing();
    driver.available[1] = outstanding;
    const area = new Uint8Array(splitInFlightBytes(SIZE));
    const record = new SplitInFlight(ring, area);
    record.recover();
    for (const head of [5, 1, 3]) record.popped(head);
    return { area, ring };
  }

  test('an area that does not fit the ring is begun anew, and says why', () => {
    const cases: [RegExp, word: number, value: number][] = [
      [/version 2 and for a queue of 8/, 4, 2],
      [/for a queue of 16, which has 8/, 5, 16],
    ];
    for (const [problem, word, value] of cases) {
      const { area, ring } = areaWith(3);
      new Uint16Array(area.buffer)[word] = value;
      const found = new SplitInFlight(ring, area).recover();
      assert.match(found.problem as string, problem);
      assert.deepEqual(found.heads, []);
      assert.deepEqual(new SplitInFlight(ring, area).recover(), { heads: [] });
    }
    const { area, ring } = areaWith(2);
    assert.match(new SplitInFlight(ring, area).recover().problem as string, /3 requests are in flight in it, and 2/);
    const fitting = areaWith(3);
    assert.deepEqual(new SplitInFlight(fitting.ring, fitting.area).recover(), { heads: [5, 1, 3] });
  });

  test('an area of random bytes neither hangs nor throws, and names only descriptors of the ring', () => {
    for (let seed = 0; seed < 2000; seed++) {
      const random = new SeededRandom(seed);
      const { driver, ring } = newRing();
      driver.available[1] = random.below(SIZE + 1);
      const area = new Uint8Array(splitInFlightBytes(SIZE));
      random.fill(area);
      const words = new Uint16Array(area.buffer);
      words[4] = 1;
      words[5] = SIZE;
      const { heads } = new SplitInFlight(ring, area).recover();
      assert.ok(heads.length <= SIZE && heads.every((head) => head < SIZE) && new Set(heads).size === heads.length);
    }
  });
});

suite('SplitQueue with a record', () => {
  test('the next queue serves what the last one left, in its order, before all others, and nothing twice', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new SeededRandom(seed);
      const start = random.flip() ? 65533 : 0;
      const { driver, memory, ring } = newRing(start);
      const area = new Uint8Array(splitInFlightBytes(SIZE));
      const guest = new GuestMemory([memory]);
      const buffer = memory.allocate(64);
      const open = (base: number): SplitQueue =>
        new SplitQueue(ring, guest, { features: 0n, base, notify: () => {}, again: () => {}, inFlightArea: area });
      let queue = open(start);
      let held: DescriptorChain[] = [];
      /** How often each request, by its place in the order of the driver, was completed. */
      const completed: number[] = [];
      const order = new Map<number, number>();
      let added = 0;
      for (let step = 0; step < 120; step++) {
        if (random.flip() && driver.freeDescriptors > 0) {
          order.set(driver.add([{ address: buffer, length: 4, writable: true }]), added);
          completed[added++] = 0;
          driver.publish();
        }
        queue.drain((chain) => held.push(chain));
        const complete = random.below(held.length + 1);
        for (let i = 0; i < complete; i++) {
          const [chain] = held.splice(random.below(held.length), 1) as [DescriptorChain];
          const place = order.get(chain.head) as number;
          completed[place] = (completed[place] as number) + 1;
          queue.markUsed(chain, 0);
        }
        queue.publish();
        driver.harvest((head) => order.delete(head));
        if (!random.oneIn(4)) continue;
        // The process is killed; its chains are lost with it. The front end knows the used index.
        const left = held.map(({ head }) => head);
        queue = open(ring.usedIndex());
        held = [];
        queue.drain((chain) => held.push(chain));
        assert.deepEqual(
          held.slice(0, left.length).map(({ head }) => head),
          left,
          `seed ${seed}`,
        );
      }
      for (const chain of held) queue.markUsed(chain, 0);
      queue.publish();
      assert.equal(queue.base, ring.availableIndex());
      assert.ok(
        completed.every((times) => times <= 1),
        `seed ${seed}: a request was completed twice`,
      );
    }
  });

  test('a buffer that was taken and put back is not in flight, and is taken again', () => {
    const { driver, memory, ring } = newRing();
    const buffer = memory.allocate(64);
    const area = new Uint8Array(splitInFlightBytes(SIZE));
    const options = { features: 0n, base: 0, notify: () => {}, again: () => {}, inFlightArea: area };
    const guest = new GuestMemory([memory]);
    const queue = new SplitQueue(ring, guest, options);
    const heads = [1, 2, 3].map(() => driver.add([{ address: buffer, length: 4, writable: true }]));
    driver.publish();
    const taken = [queue.take(), queue.take(), queue.take()] as DescriptorChain[];
    queue.untake(taken[2] as DescriptorChain);
    const next = new SplitQueue(ring, guest, options);
    assert.deepEqual(
      [next.take(), next.take(), next.take(), next.take()].map((chain) => chain?.head),
      [...heads, undefined],
    );
  });
});

suite('a request that is left to the next process', () => {
  const place = (driver: DriverQueue, count: number): number[] => {
    const heads = Array.from({ length: count }, () => driver.add([{ address: 0, length: 1, writable: true }]));
    driver.publish();
    return heads;
  };

  test('is in flight in the record, the queue is idle without it, and the next one serves it first', () => {
    const { driver, ring, memory } = newRing();
    const inFlightArea = new Uint8Array(splitInFlightBytes(SIZE));
    const options = { features: 0n, notify: () => {}, again: () => {}, inFlightArea };
    const open = (): SplitQueue => new SplitQueue(ring, new GuestMemory([memory]), options);
    const heads = place(driver, 3);
    const queue = open();
    const chains: DescriptorChain[] = [];
    queue.drain((chain) => chains.push(chain));
    let isIdle = false;
    queue.whenIdle(() => {
      isIdle = true;
    });
    queue.markUsed(chains[1] as DescriptorChain, 0);
    queue.publish();
    queue.leave(chains[0] as DescriptorChain);
    assert.equal(isIdle, false);
    queue.leave(chains[2] as DescriptorChain);
    assert.deepEqual([isIdle, queue.inFlight, driver.harvest(() => {})], [true, 0, 1]);
    const [more] = place(driver, 1);
    const served: number[] = [];
    open().drain((chain, next) => {
      served.push(chain.head);
      next.markUsed(chain, 0);
    });
    assert.deepEqual(served, [heads[0], heads[2], more]);
    assert.equal(
      driver.harvest(() => {}),
      3,
    );
  });

  test('may be left while it is served', () => {
    const { driver, ring, memory } = newRing();
    const inFlightArea = new Uint8Array(splitInFlightBytes(SIZE));
    const options = { features: 0n, notify: () => {}, again: () => {}, inFlightArea };
    place(driver, 2);
    const queue = new SplitQueue(ring, new GuestMemory([memory]), options);
    queue.drain((chain, self) => self.leave(chain));
    assert.deepEqual([queue.inFlight, queue.isRecorded, driver.harvest(() => {})], [0, true, 0]);
  });

  test('cannot be left without a record', () => {
    const { driver, ring, memory } = newRing();
    place(driver, 1);
    const queue = new SplitQueue(ring, new GuestMemory([memory]), { features: 0n, notify: () => {}, again: () => {} });
    assert.throws(() => queue.drain((chain, self) => self.leave(chain)), /no process after this one would know/);
  });
});
