// test/power-cut: the replayer: exactly the images that a disk may hold after a power cut, for small recordings all of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { every } from '../../src/testing/every.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { FATES, Replay, type ReplayOptions } from './cut.ts';
import { cutPoints, fatesFor } from './cut-points.ts';
import { lengthOf, Recording, SECTOR_BYTES } from './recording.ts';

const SECTORS = 4;
const SIZE_BYTES = SECTORS * SECTOR_BYTES;

/** A write of `count` sectors filled with `value`. */
function write(first: number, count: number, value: number) {
  return {
    kind: 'write',
    offset: first * SECTOR_BYTES,
    bytes: new Uint8Array(count * SECTOR_BYTES).fill(value),
  } as const;
}

function discard(first: number, count: number) {
  return { kind: 'discard', offset: first * SECTOR_BYTES, length: count * SECTOR_BYTES } as const;
}

/** The first byte of each sector, all of whose bytes have to be the same. */
function sectorsOf(image: { read(offset: number, into: Uint8Array): void }): string {
  const bytes = new Uint8Array(SIZE_BYTES);
  image.read(0, bytes);
  const sectors = Array.from({ length: SECTORS }, (_, i) => bytes.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES));
  assert.ok(
    sectors.every((sector) => sector.every((byte) => byte === sector[0])),
    'a sector is torn',
  );
  return sectors.map((sector) => sector[0]).join(' ');
}

/** All images that the replayer makes of a cut before the event `at`. */
function imagesAt(recording: Recording, at: number, options: ReplayOptions = {}): Set<string> {
  const images = new Set<string>();
  const replay = new Replay(recording, SIZE_BYTES, options);
  const pending = replay.advance(at);
  for (const choose of every()) images.add(sectorsOf(replay.image(pending, () => choose.of(FATES), choose)));
  return images;
}

/** The same by the definition: a sector is what is durable of it, or any change of it that is not. */
function expectedAt({ changes, flushes }: Recording, at: number): Set<string> {
  const covering = flushes.filter(({ ended }) => ended < at);
  const isDurable = ({ ended }: { ended: number }): boolean => covering.some(({ begun }) => ended < begun);
  const versions = Array.from({ length: SECTORS }, (_, sector) => {
    const touching = changes
      .filter(({ begun }) => begun < at)
      .filter(({ offset }) => offset <= sector * SECTOR_BYTES)
      .filter((change) => change.offset + lengthOf(change) > sector * SECTOR_BYTES)
      .map((change) => ({ ...change, value: change.kind === 'write' ? (change.bytes[0] as number) : 0 }));
    const durable = touching.filter(isDurable).sort((a, b) => a.ended - b.ended);
    return [durable.at(-1)?.value ?? 0, ...touching.filter((change) => !isDurable(change)).map(({ value }) => value)];
  });
  let images = [''];
  for (const values of versions) images = images.flatMap((image) => values.map((value) => `${image} ${value}`.trim()));
  return new Set(images);
}

function assertEveryCut(recording: Recording, what: string): void {
  for (let at = 0; at <= recording.events; at++)
    assert.deepEqual(imagesAt(recording, at), expectedAt(recording, at), `${what}, cut before event ${at}`);
}

test('a cut after a flush has what was written before it, and any sectors of what came later', () => {
  const recording = new Recording();
  recording.change(write(0, 2, 1)).end();
  recording.flush().end();
  recording.change(write(1, 2, 2)).end();
  assert.deepEqual(imagesAt(recording, recording.events), new Set(['1 1 0 0', '1 1 2 0', '1 2 0 0', '1 2 2 0']));
  assertEveryCut(recording, 'two writes');
});

test('a flush covers the writes that completed before it began, once it completed', () => {
  const recording = new Recording();
  const inFlight = recording.change(write(0, 1, 1));
  recording.change(write(1, 1, 2)).end();
  const flush = recording.flush();
  inFlight.end();
  const beforeItsEnd = recording.events;
  flush.end();
  assert.equal(imagesAt(recording, beforeItsEnd).size, 4);
  assert.deepEqual(imagesAt(recording, recording.events), new Set(['0 2 0 0', '1 2 0 0']));
  assertEveryCut(recording, 'a write in flight');
});

test('a request that failed is never durable, and may have changed any of its sectors', () => {
  const recording = new Recording();
  recording.change(write(0, 2, 1));
  recording.flush().end();
  assert.deepEqual(imagesAt(recording, recording.events), new Set(['0 0 0 0', '0 1 0 0', '1 0 0 0', '1 1 0 0']));
});

test('a discard and a write-zeroes may be torn too', () => {
  const recording = new Recording();
  recording.change(write(0, 4, 7)).end();
  recording.flush().end();
  recording.change(discard(0, 2)).end();
  recording.change({ kind: 'write-zeroes', offset: 3 * SECTOR_BYTES, length: SECTOR_BYTES }).end();
  assert.equal(imagesAt(recording, recording.events).size, 8);
  assertEveryCut(recording, 'discards');
});

test('what completed before the start is durable without a flush', () => {
  const recording = new Recording();
  recording.change(write(0, 1, 1)).end();
  recording.mark('made');
  recording.change(write(1, 1, 2)).end();
  const from = recording.eventOf('made');
  assert.deepEqual(imagesAt(recording, recording.events, { from }), new Set(['1 0 0 0', '1 2 0 0']));
});

test('regression: the bytes that a file system relies on are never torn, and those around them may be', () => {
  const recording = new Recording();
  recording.change(write(0, 4, 1)).end();
  recording.change(write(1, 3, 2)).end();
  const untorn = { offset: SECTOR_BYTES, length: 2 * SECTOR_BYTES };
  const images = [...imagesAt(recording, recording.events, { untorn })].map((image) => image.split(' '));
  assert.ok(images.every((sectors) => sectors[1] === sectors[2]));
  assert.equal(images.length, 2 * 3 * 3);
});

test('a replay goes on to later cuts, and not back', () => {
  const recording = new Recording();
  for (const value of [1, 2, 3]) {
    recording.change(write(value, 1, value)).end();
    recording.flush().end();
  }
  const replay = new Replay(recording, SIZE_BYTES);
  const image = (at: number): string => {
    const pending = replay.advance(at);
    return sectorsOf(replay.image(pending, () => 'absent', new SeededRandom(1)));
  };
  assert.deepEqual([4, 8, 12].map(image), ['0 1 0 0', '0 1 2 0', '0 1 2 3']);
  assert.throws(() => replay.advance(4), /beyond 4/);
});

test('every cut of random recordings gives exactly the images that the definition allows', () => {
  for (let seed = 0; seed < 150; seed++) assertEveryCut(randomRecording(new SeededRandom(seed)), `seed ${seed}`);
});

/** A few requests with distinct values; those that overlap in bytes do not overlap in time. */
function randomRecording(random: SeededRandom): Recording {
  const recording = new Recording();
  let open: { end(): void }[] = [];
  for (let value = 1; value <= 5; value++) {
    const first = random.below(SECTORS);
    const count = 1 + random.below(Math.min(2, SECTORS - first));
    if (random.flip()) {
      for (const request of open) request.end();
      open = [];
    }
    const request = random.oneIn(3)
      ? recording.flush()
      : recording.change(random.oneIn(4) ? discard(first, count) : write(first, count, value));
    if (open.length === 0 && random.oneIn(3) && value < 5) open.push(request);
    else request.end();
  }
  return recording;
}

test('the points of a run: every flush, and others between, the same for the same seed', () => {
  const recording = new Recording();
  recording.change(write(0, 1, 1)).end();
  recording.flush().end();
  const from = recording.events;
  for (let i = 0; i < 20; i++) {
    recording.change(write(i % SECTORS, 1, i)).end();
    recording.flush().end();
  }
  const points = cutPoints(recording, { from, count: 50, seed: 3 });
  assert.equal(points.length, 50);
  const atFlushes = points.filter(({ isAtFlush }) => isAtFlush).map(({ at }) => at);
  assert.deepEqual(
    atFlushes,
    recording.flushes.slice(1).map(({ ended }) => ended + 1),
  );
  assert.ok(points.every(({ at }, i) => at > from && at <= recording.events && at >= (points[i - 1]?.at ?? 0)));
  const between = points.filter(({ isAtFlush }) => !isAtFlush);
  assert.ok(between.every(({ at }) => new Replay(recording, SIZE_BYTES, { from }).advance(at).length > 0));
  assert.deepEqual(cutPoints(recording, { from, count: 50, seed: 3 }), points);
  assert.notDeepEqual(cutPoints(recording, { from, count: 50, seed: 4 }), points);
  assert.equal(cutPoints(recording, { from, count: 7, seed: 3 }).filter(({ isAtFlush }) => isAtFlush).length, 6);
});

test('what survives at a point is what its name says', () => {
  const fates = (survival: Parameters<typeof fatesFor>[0], count: number): string[] => {
    const fateOf = fatesFor(survival, count, new SeededRandom(5));
    return Array.from({ length: count }, (_, i) => fateOf({ ...write(0, 1, 1), begun: 0, ended: 1 }, i));
  };
  assert.deepEqual(new Set(fates('none', 50)), new Set(['absent']));
  assert.deepEqual(new Set(fates('all', 50)), new Set(['whole']));
  assert.equal(fates('one', 50).filter((fate) => fate !== 'absent').length, 1);
  assert.equal(fates('all but one', 50).filter((fate) => fate !== 'whole').length, 1);
  const absent = (['few', 'half', 'most'] as const).map(
    (survival) => fates(survival, 400).filter((f) => f === 'absent').length,
  );
  assert.ok(
    (absent[0] as number) > 300 && (absent[2] as number) < 100 && (absent[1] as number) > 150,
    absent.join(' '),
  );
});
