// testing: what every block store must do, as tests. Run it on a store of your own.
import assert from 'node:assert/strict';
import type { BlockStore, MaybePromise } from '../devices/blk/block-store.ts';
import { type DefineTest, nodeTest } from './define-test.ts';
import { SeededRandom } from './seeded-random.ts';

const OPTIONAL = ['write', 'readv', 'writev', 'flush', 'discard', 'writeZeroes', 'refreshSize', 'close'] as const;
const SECTOR = 512;
const STEPS = 400;

/** What the suite needs to know of a store. */
export interface StoreConformanceOptions {
  /** Opens a store of 128 blocks of its `alignment` or more; the suite closes it. Called for each test. */
  readonly open: () => MaybePromise<BlockStore>;
  /** The optional members that it has. The suite requires exactly these: presence means capability. */
  readonly members: readonly (typeof OPTIONAL)[number][];
  /** The content of a store without `write`. A store with `write` is overwritten. */
  readonly content?: Uint8Array;
  /** Seed of the random requests. Default: 1. */
  readonly seed?: number;
  /** Defines each test. Default: `test` of node:test. */
  readonly test?: DefineTest;
}

type Check = (store: BlockStore, random: SeededRandom, content: Uint8Array) => Promise<void>;

/** Defines the tests that the store called `name` must pass. */
export function storeConformance(name: string, options: StoreConformanceOptions): void {
  const { open, members, content = new Uint8Array(), seed = 1, test = nodeTest } = options;
  const define = (sentence: string, check: Check): void => {
    test(`${name}: ${sentence}`, async () => {
      const store = await open();
      try {
        await check(store, new SeededRandom(seed), content);
      } finally {
        await store.close?.();
      }
    });
  };
  define('it has whole sectors and exactly the members it should', async (store) => {
    const sector = sectorOf(store);
    assert.ok(Number.isSafeInteger(store.sizeBytes) && store.sizeBytes >= 128 * sector);
    assert.equal(store.sizeBytes % sector, 0);
    const present = OPTIONAL.filter((member) => store[member] !== undefined);
    assert.deepEqual(present.toSorted(), members.toSorted());
  });
  if (!members.includes('write')) {
    define('it reads what it holds, whole and in parts', readsContent);
    return;
  }
  define('it reads back what was written, at its ends and across it', readsBack);
  define('a request in pieces is the same as one in one piece', servesPieces);
  define('many requests in flight do not disturb each other', servesTogether);
  define('writing neither keeps nor changes the bytes it is given', leavesTheSource);
  if (members.includes('writeZeroes')) define('zeroed bytes read as zeroes, and their neighbours do not', zeroes);
  if (members.includes('discard')) define('a discard leaves its neighbours alone', discards);
  define(`${STEPS} random requests agree with a plain array`, agreesWithAnArray);
}

/** The smallest request. */
function sectorOf({ alignment = SECTOR }: BlockStore): number {
  return alignment;
}

/** As deepEqual, which takes minutes to describe a difference in a mebibyte. */
function assertSame(actual: Uint8Array, expected: Uint8Array, what = 'the disk'): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  if (at >= 0) assert.fail(`${what}: byte ${at} is ${actual[at]}, not ${expected[at]}`);
}

async function readAt(store: BlockStore, offset: number, length: number): Promise<Uint8Array> {
  // Not zeroes, so that a read that does nothing is detected.
  const into = new Uint8Array(length).fill(0xee);
  await store.read(offset, into);
  return into;
}

/**
 * Moves bytes as the block device does: in one `readv` or `writev` if the store has it, else in one call a piece,
 * concurrently.
 */
async function transfer(
  store: BlockStore,
  isRead: boolean,
  offset: number,
  pieces: readonly Uint8Array[],
): Promise<void> {
  const all = isRead ? store.readv : store.writev;
  if (all !== undefined) return all.call(store, offset, pieces);
  let at = offset;
  const pending = pieces.map((piece) => {
    const done = isRead ? store.read(at, piece) : store.write?.(at, piece);
    at += piece.length;
    return done;
  });
  await Promise.all(pending);
}

/** Cuts `bytes` at random places, independent of sectors. */
function cut(bytes: Uint8Array, random: SeededRandom): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += pieces.at(-1)!.length)
    pieces.push(bytes.subarray(at, at + 1 + random.below(random.flip() ? 40 : 5000)));
  return pieces;
}

function randomBytes(length: number, random: SeededRandom): Uint8Array {
  const bytes = new Uint8Array(length);
  random.fill(bytes);
  return bytes;
}

const readsContent: Check = async (store, random, content) => {
  const sector = sectorOf(store);
  assert.equal(content.length, store.sizeBytes);
  assertSame(await readAt(store, 0, store.sizeBytes), content);
  for (const offset of [0, sector, store.sizeBytes - sector])
    assertSame(await readAt(store, offset, sector), content.slice(offset, offset + sector));
  const into = new Uint8Array(store.sizeBytes);
  await transfer(store, true, 0, cut(into, random));
  assertSame(into, content);
};

const readsBack: Check = async (store, random) => {
  const sector = sectorOf(store);
  const size = store.sizeBytes;
  const whole = randomBytes(size, random);
  await store.write?.(0, whole);
  assertSame(await readAt(store, 0, size), whole);
  for (const [offset, length] of [
    [0, sector],
    [size - sector, sector],
    [3 * sector, 100 * sector],
  ] as const) {
    const bytes = randomBytes(length, random);
    await store.write?.(offset, bytes);
    whole.set(bytes, offset);
    assertSame(await readAt(store, offset, length), bytes);
  }
  await store.flush?.();
  assertSame(await readAt(store, 0, size), whole);
};

const servesPieces: Check = async (store, random) => {
  const sector = sectorOf(store);
  const bytes = randomBytes(64 * sector, random);
  const offset = store.sizeBytes - bytes.length;
  await transfer(store, false, offset, cut(bytes, random));
  assertSame(await readAt(store, offset, bytes.length), bytes);
  const into = new Uint8Array(bytes.length);
  await transfer(store, true, offset, cut(into, random));
  assertSame(into, bytes);
  // More pieces than Linux takes in one call.
  const single = Array.from({ length: 5 * sector }, (_, i) => into.subarray(i, i + 1));
  await transfer(store, false, 0, single);
  assertSame(await readAt(store, 0, single.length), bytes.slice(0, single.length));
  into.fill(0);
  await transfer(store, true, 0, single);
  assertSame(into.slice(0, single.length), bytes.slice(0, single.length));
};

const servesTogether: Check = async (store, random) => {
  const sector = sectorOf(store);
  const blocks = Array.from({ length: 32 }, () => randomBytes(2 * sector, random));
  await Promise.all(blocks.map((bytes, i) => store.write?.(i * 2 * sector, bytes)));
  const read = await Promise.all(blocks.map((_, i) => readAt(store, i * 2 * sector, 2 * sector)));
  for (const [i, bytes] of read.entries()) assertSame(bytes, blocks[i] as Uint8Array, `block ${i}`);
};

const leavesTheSource: Check = async (store, random) => {
  const sector = sectorOf(store);
  const bytes = randomBytes(8 * sector, random);
  const from = bytes.slice();
  await store.write?.(sector, from);
  assertSame(from, bytes);
  from.fill(0);
  assertSame(await readAt(store, sector, bytes.length), bytes);
};

const zeroes: Check = async (store, random) => {
  const sector = sectorOf(store);
  const size = store.sizeBytes;
  for (const mayUnmap of [true, false]) {
    const whole = randomBytes(size, random);
    await store.write?.(0, whole);
    for (const [start, end] of [
      [3 * sector, 5 * sector],
      [7 * sector, size - 9 * sector],
      [size - sector, size],
    ] as const) {
      await store.writeZeroes?.(start, end - start, mayUnmap);
      whole.fill(0, start, end);
      assertSame(await readAt(store, 0, size), whole);
    }
  }
};

const discards: Check = async (store, random) => {
  const sector = sectorOf(store);
  const size = store.sizeBytes;
  const whole = randomBytes(size, random);
  await store.write?.(0, whole);
  const [start, end] = [7 * sector, size - 9 * sector];
  await store.discard?.(start, end - start);
  assertSame(await readAt(store, 0, start), whole.slice(0, start));
  assertSame(await readAt(store, end, size - end), whole.slice(end));
  const bytes = randomBytes(end - start, random);
  await store.write?.(start, bytes);
  assertSame(await readAt(store, start, end - start), bytes);
};

const agreesWithAnArray: Check = async (store, random) => {
  const sector = sectorOf(store);
  const sectors = store.sizeBytes / sector;
  const model = randomBytes(store.sizeBytes, random);
  await store.write?.(0, model.slice());
  // A discarded sector may stay, become zeroes, or be anything until it is written again.
  const known = new Uint8Array(sectors).fill(1);
  const compare = async (first: number, count: number, step: number): Promise<void> => {
    const bytes = await readAt(store, first * sector, count * sector);
    for (let i = 0; i < count; i++) {
      const expected = model.slice((first + i) * sector, (first + i + 1) * sector);
      if (known[first + i] === 1)
        assertSame(bytes.slice(i * sector, (i + 1) * sector), expected, `step ${step}, sector ${first + i}`);
    }
  };
  for (let step = 0; step < STEPS; step++) {
    const first = random.below(sectors);
    const count = 1 + random.below(random.oneIn(8) ? sectors - first : Math.min(sectors - first, 48));
    const [offset, length] = [first * sector, count * sector];
    const request = random.of(['read', 'write', 'write', 'discard', 'zero', 'flush']);
    if (request === 'read') await compare(first, count, step);
    else if (request === 'flush') await store.flush?.();
    else if (request === 'discard' && store.discard !== undefined) {
      await store.discard(offset, length);
      known.fill(0, first, first + count);
    } else {
      const zeroing = request === 'zero' && store.writeZeroes !== undefined;
      if (zeroing) model.fill(0, offset, offset + length);
      else random.fill(model.subarray(offset, offset + length));
      await (zeroing
        ? store.writeZeroes?.(offset, length, random.flip())
        : store.write?.(offset, model.slice(offset, offset + length)));
      known.fill(1, first, first + count);
    }
  }
  await compare(0, sectors, STEPS);
};
