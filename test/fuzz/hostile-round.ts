// test/fuzz: one round of a hostile driver against Belfry's device side: a ring from start to reset, determined by a seed.
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import type { BlockStore, MaybePromise } from '../../src/devices/blk/block-store.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import type { DescriptorChain } from '../../src/virtio/descriptor-chain.ts';
import { DriverError } from '../../src/virtio/errors.ts';
import type { GuestImage } from './guest-image.ts';
import { HostileDriver } from './hostile-driver.ts';
import { SpiedQueue, Violation } from './spied-queue.ts';
import { watchWords } from './word-watch.ts';

const DISK_BYTES = 32 * 512;
const DRAINS_MAX = 24;
/** Of a store to one request: what it asks for, and a flush. */
const ANSWERS_MAX = 2;

/** The device of a round. */
interface Backing {
  process(queue: SpiedQueue): void;
  /** Completes some of what is in flight; all of it, in the end. */
  complete(queue: SpiedQueue, all: boolean): MaybePromise<void>;
  /** A store was asked for what it must not be. */
  readonly fault?: string | undefined;
}

/** Runs the round of `seed`. Returns how many chains the device popped. Throws Violation, or what the device throws. */
export async function hostileRound(seed: number, image: GuestImage): Promise<number> {
  const random = new SeededRandom(seed);
  image.fill(random);
  const driver = new HostileDriver(image, random);
  const backing = random.of([blockBacking, blockBacking, blockBacking, heldBacking])(random);
  const newQueue = (base: number): SpiedQueue => {
    const started = new SpiedQueue(image, { ...driver.ring, base });
    started.beforeServe = () => {
      if (random.oneIn(16)) driver.meddle();
    };
    return started;
  };
  let queue = newQueue(driver.ring.base);
  let chains = 0;
  // Most rounds run at full speed; in some, each word changes as soon as the device has read it.
  using _watch = random.oneIn(32) ? watchWords(image, () => queue, random) : undefined;
  for (let i = 0; i < DRAINS_MAX; i++) {
    const isWhole = drainOnce(queue, backing, driver, random);
    await backing.complete(queue, false);
    check(queue, backing);
    if (isWhole && !random.oneIn(16)) continue;
    // The driver resets its queue, or its machine is stopped and goes on.
    await comeToRest(queue, backing);
    chains += queue.popped;
    if (!isWhole) driver.reset(queue.base);
    queue = newQueue(queue.base);
  }
  await comeToRest(queue, backing);
  return chains + queue.popped;
}

async function comeToRest(queue: SpiedQueue, backing: Backing): Promise<void> {
  let idle = false;
  queue.whenIdle(() => {
    idle = true;
  });
  // One answer of a store may lead to another question: the next range, the flush after a write.
  for (let i = 0; i < ANSWERS_MAX && queue.inFlight > 0; i++) await backing.complete(queue, true);
  check(queue, backing);
  if (!idle) throw new Violation(`${queue.inFlight} requests never came back`);
}

/** Lets the driver act and the device drain; false when the queue broke, as it must when the driver broke a MUST. */
function drainOnce(queue: SpiedQueue, backing: Backing, driver: HostileDriver, random: SeededRandom): boolean {
  driver.makeAvailable(queue.ring.size - queue.inFlight);
  if (random.oneIn(16)) queue.suppress();
  else if (random.oneIn(8)) queue.rearm();
  let refusal: unknown;
  try {
    backing.process(queue);
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
    refusal = error;
    queue.verifyRefused(error);
    queue.wordsRead.clear();
    queue.drain(() => {
      throw new Violation('a broken queue serves more');
    });
    if (queue.hasWork() || queue.rearm()) throw new Violation('a broken queue has work');
  }
  check(queue, backing);
  return refusal === undefined;
}

function check(queue: SpiedQueue, backing: Backing): void {
  if (backing.fault !== undefined) throw new Violation(backing.fault);
  queue.verify();
}

/** A disk, whose store answers at once, later, or not well. */
function blockBacking(random: SeededRandom): Backing {
  const bytes = new Uint8Array(DISK_BYTES).fill(0xd5);
  const pending: (() => void)[] = [];
  const isAsync = random.oneIn(8);
  const failing = random.oneIn(4);
  const backing: { fault: string | undefined } & Backing = {
    fault: undefined,
    process(queue) {
      const { base } = queue;
      device.process(0, queue);
      queue.verifyDrained((queue.base - base) & 0xffff);
    },
    complete(_, all) {
      if (!isAsync) return;
      for (let left = all ? Number.POSITIVE_INFINITY : random.below(8); left > 0 && pending.length > 0; left--)
        pending.splice(random.below(pending.length), 1)[0]?.();
      return new Promise((resolve) => setImmediate(resolve));
    },
  };
  const move = (offset: number, length: number, doIt: () => void): MaybePromise<void> => {
    if (offset % 512 !== 0 || length % 512 !== 0 || offset + length > DISK_BYTES || offset < 0)
      backing.fault = `the store was asked for ${length} bytes at ${offset}`;
    const fails = failing && random.oneIn(4);
    if (fails && random.flip()) fail();
    if (!isAsync) return doIt();
    return new Promise((resolve, reject) =>
      pending.push(() => {
        doIt();
        if (fails) reject(new Error('no luck'));
        else resolve();
      }),
    );
  };
  const store: BlockStore = {
    sizeBytes: DISK_BYTES,
    read: (offset, into) => move(offset, into.length, () => into.set(bytes.subarray(offset, offset + into.length))),
    write: (offset, from) => move(offset, from.length, () => bytes.set(from, offset)),
    ...(random.flip() && {
      prefetch(offsets, count) {
        const stray = offsets.slice(0, count).find((offset) => offset % 512 !== 0 || offset >= DISK_BYTES);
        if (stray !== undefined) backing.fault = `the store was told of a request at ${stray}`;
        if (failing && random.oneIn(64)) fail();
      },
    }),
    ...(random.flip() && { flush: () => move(0, 0, () => {}) }),
    ...(random.flip() && {
      discard: (offset, length) => move(offset, length, () => {}),
      writeZeroes: (offset, length) => move(offset, length, () => bytes.fill(0, offset, offset + length)),
    }),
  };
  const { write: _, ...readOnly } = store;
  const device = new BlockDevice(random.oneIn(8) ? readOnly : store, { serial: 'hostile' });
  const none = (): void => {};
  const context = { watch: nothing, timer: nothing, soon: none, log: none, configChanged: none, needsReset: none };
  device.start(random.flip() ? device.features : 0n, context);
  return backing;
}

const nothing = (): Disposable => ({ [Symbol.dispose]: () => {} });

function fail(): never {
  throw new Error('no luck');
}

/** A device that keeps chains, writes all over what it may write, and completes in any order. */
function heldBacking(random: SeededRandom): Backing {
  const held: DescriptorChain[] = [];
  const finish = (queue: SpiedQueue): void => {
    const [chain] = held.splice(random.below(held.length), 1) as [DescriptorChain];
    const { writable } = chain;
    const length = writable.totalBytes;
    for (const view of writable.views()) view.fill(0x5a);
    if (length > 0) writable.setLastByte(0xa5);
    queue.markUsed(chain, random.below(length + 1));
  };
  return {
    process(queue) {
      const { base } = queue;
      queue.drain((chain) => {
        const { readable } = chain;
        for (let at = 0; at + 4 <= Math.min(readable.totalBytes, 64); at += 4) readable.uint32(at);
        readable.copyTo(new Uint8Array(random.below(64)), random.below(64));
        held.push(chain);
        if (random.flip()) finish(queue);
      });
      queue.verifyDrained((queue.base - base) & 0xffff);
    },
    complete(queue, all) {
      while (held.length > 0 && (all || random.flip())) finish(queue);
      queue.publish();
    },
  };
}
