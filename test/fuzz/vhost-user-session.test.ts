// Hostile front ends, by seed: the server outlives each, serves the next and keeps nothing of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';
import type { SystemError } from '../../src/sys/libc.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually, type RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';
import {
  attach,
  DISK_BYTES,
  type Listening,
  makeDisk,
  openDescriptors,
  serveDevice,
  sharedMappings,
} from '../vhost-user/back-end.ts';
import { serveByThreads } from '../vhost-user/threads.ts';
import { HostileFrontEnd } from './hostile-front-end.ts';

const SECONDS_EACH = 4;
/** Sessions between two looks at whether everything is in order. */
const ROUND = 10;

/** A disk that answers now or later, by chance. `faults`: guest memory that was no longer there. */
function fickleDisk(random: SeededRandom): { store: BlockStore; faults: unknown[] } {
  const inner = arrayStore(pattern(DISK_BYTES));
  const faults: unknown[] = [];
  const store: BlockStore = {
    ...inner,
    async read(offset, into) {
      await new Promise((resolve) => setImmediate(resolve));
      try {
        await inner.read(offset, into);
      } catch (error) {
        faults.push(error);
      }
    },
  };
  const read = store.read;
  return { store: { ...store, read: (...args) => (random.flip() ? read(...args) : inner.read(...args)) }, faults };
}

/** Connects, when there is room in the backlog of the socket. */
async function connect(backEnd: Listening): Promise<RawFrontEnd> {
  let front: RawFrontEnd | undefined;
  await eventually('room for one more', () => {
    try {
      front = backEnd.connect();
    } catch (error) {
      if ((error as SystemError).code !== 'EAGAIN') throw error;
    }
    return front !== undefined;
  });
  return front as RawFrontEnd;
}

/** What the server holds while a front end is connected that has said nothing. */
async function countHoldings(backEnd: Listening): Promise<{ descriptors: number; mappings: number }> {
  using front = await connect(backEnd);
  await front.settle();
  return { descriptors: openDescriptors(), mappings: sharedMappings() };
}

async function assertServes(backEnd: Listening): Promise<void> {
  using guest = new RawGuest();
  using attached = await attach(backEnd, guest);
  for (const { status } of await attached.ring.serve(blockRequest.getId(), blockRequest.getId()))
    assert.equal(status, 0);
}

interface Found {
  sessions: number;
  ended: number;
  broken: number;
}

const SETTLES_MS = 10_000;

/** Looks at what a round left behind. */
async function assertInOrder(backEnd: Listening, before: unknown, found: Found): Promise<void> {
  // What a front end sent may be closed a little later, on a thread of its own.
  const endMs = performance.now() + SETTLES_MS;
  while (!isDeepStrictEqual(await countHoldings(backEnd), before) && performance.now() < endMs);
  assert.deepEqual(await countHoldings(backEnd), before);
  await assertServes(backEnd);
  const lines = backEnd.lines.splice(0);
  const told = (what: RegExp): number => lines.filter((line) => what.test(line)).length;
  const ended = told(/^session ended: /);
  const broken = told(/^queue \d stopped /);
  const known = ended + broken + told(/^SET_CONFIG: /) + told(/^the front end was not told /);
  assert.equal(known, lines.length, lines.join('\n'));
  found.ended += ended;
  found.broken += broken;
  // Lines of other threads may come a round late.
  assert.ok(found.ended <= found.sessions, `${found.ended} of ${found.sessions} sessions ended`);
}

async function fuzz(backEnd: Listening, seed: number, resize: (sizeBytes: number) => void): Promise<Found> {
  await assertServes(backEnd);
  const before = await countHoldings(backEnd);
  const found = { sessions: 0, ended: 0, broken: 0 };
  for (const endMs = performance.now() + SECONDS_EACH * 1000; performance.now() < endMs; ) {
    const first = seed + found.sessions;
    try {
      for (let i = 0; i < ROUND; i++) {
        const random = new SeededRandom(seed + found.sessions++);
        using front = new HostileFrontEnd(random, await connect(backEnd), resize);
        await front.misbehave();
      }
      await assertInOrder(backEnd, before, found);
    } catch (error) {
      throw new Error(`after the sessions of seeds ${first} to ${first + ROUND - 1}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  console.log(`seed ${seed}: ${found.sessions} sessions, ${found.ended} ended by us, ${found.broken} queues broken`);
  assert.ok(found.sessions > 50 && found.ended > 10 && found.broken > 0, 'they did too little');
  return found;
}

const fresh = Math.floor(Math.random() * 2 ** 40);

for (const [name, seed] of [
  ['known', 1],
  ['fresh', fresh],
] as const)
  test(`no front end stops a server in Node's loop or leaves something behind (${name} seeds)`, async () => {
    const { store, faults } = fickleDisk(new SeededRandom(seed));
    const device = makeDisk(store);
    await using backEnd = serveDevice(device);
    await fuzz(backEnd, seed, (sizeBytes) => device.resize(sizeBytes));
    assert.deepEqual(faults, []);
  });

test('no front end stops a server of three threads or leaves something behind (fresh seeds)', async () => {
  await using backEnd = await serveByThreads(3);
  await fuzz(backEnd, fresh, () => {});
});
