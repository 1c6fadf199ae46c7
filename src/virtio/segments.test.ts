// A stream in pieces behaves as the same bytes in one piece: every operation is compared with a plain array.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { DriverError } from './errors.ts';
import { GuestMemory } from './guest-memory.ts';
import { Segments } from './segments.ts';

const SEAM = 0x40;

/** Two regions that touch, so that a piece may become two. */
function newMemory(): { memory: GuestMemory; all: Uint8Array<ArrayBuffer>[] } {
  const all = [SEAM, 0x1000].map((length, salt) => Uint8Array.from({ length }, (_, i) => (i * 31 + salt * 7) & 0xff));
  const [first, second] = all as [Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>];
  const memory = new GuestMemory([
    { guestAddress: 0, bytes: first },
    { guestAddress: SEAM, bytes: second },
  ]);
  return { memory, all };
}

const flatten = (segments: Segments): number[] => segments.views().flatMap((view) => [...view]);

/** Pieces that do not overlap: each has an address range of its own, the first ones around the seam. */
const pieces = fc
  .array(fc.record({ gap: fc.nat(5), length: fc.nat(24) }), { minLength: 1, maxLength: 12 })
  .map((list) => {
    let at = SEAM - 20;
    return list.map(({ gap, length }) => {
      const address = at + gap;
      at = address + length;
      return { address, length };
    });
  });

function filled(memory: GuestMemory, list: readonly { address: number; length: number }[]): Segments {
  const segments = new Segments();
  for (const { address, length } of list) segments.push(memory, address, length);
  return segments;
}

suite('by chance, against a plain array', () => {
  test('length, content and pieces', () => {
    fc.assert(
      fc.property(pieces, (list) => {
        const { memory, all } = newMemory();
        const segments = filled(memory, list);
        const flat = all.flatMap((bytes) => [...bytes]);
        const expected = list.flatMap(({ address, length }) => flat.slice(address, address + length));
        assert.deepEqual(flatten(segments), expected);
        assert.equal(segments.totalBytes, expected.length);
        assert.ok(segments.views().every((view) => view.length > 0));
      }),
    );
  });

  test('any part of it, in as many pieces as it lies in, and whole where it lies in one', () => {
    fc.assert(
      fc.property(pieces, fc.nat(300), fc.nat(300), (list, one, other) => {
        const { memory } = newMemory();
        const segments = filled(memory, list);
        const expected = flatten(segments);
        const from = Math.min(one, other, expected.length);
        const to = Math.min(Math.max(one, other), expected.length);
        const range = segments.range(from, to);
        const flat = range.flatMap((view) => [...view]);
        assert.deepEqual(flat, expected.slice(from, to));
        assert.ok(range.every((view) => view.length > 0));
        const single = segments.single(from, to);
        if (range.length === 1) assert.deepEqual([...(single as Uint8Array)], flat);
        if (range.length > 1) assert.equal(single, undefined);
        const pieces: Uint8Array[] = [];
        for (let at = from; at < to; at += pieces.at(-1)!.length) pieces.push(segments.piece(at, to));
        assert.deepEqual(pieces, range);
        for (const unit of [1, 4, 8]) {
          const cuts = range.map(({ length }) => length).slice(0, -1);
          assert.equal(
            segments.isCut(from, to, unit),
            cuts.some((length) => length % unit !== 0),
            `${cuts} by ${unit}`,
          );
        }
        const into = new Uint8Array(to - from);
        assert.equal(segments.copyTo(into, from), to - from);
        assert.deepEqual([...into], flat);
      }),
    );
  });

  test('uint32 and uint64', () => {
    fc.assert(
      fc.property(pieces, fc.nat(300), (list, at) => {
        const { memory } = newMemory();
        const segments = filled(memory, list);
        const expected = flatten(segments);
        if (expected.length >= 4) {
          const position = at % (expected.length - 3);
          const [a, b, c, d] = expected.slice(position, position + 4) as [number, number, number, number];
          assert.equal(segments.uint32(position), a + b * 2 ** 8 + c * 2 ** 16 + d * 2 ** 24);
        }
        if (expected.length >= 8) {
          const position = at % (expected.length - 7);
          const low = segments.uint32(position);
          assert.equal(segments.uint64(position), low + segments.uint32(position + 4) * 2 ** 32);
        }
      }),
    );
  });

  test('copyFrom and setLastByte write where the stream is, and nowhere else', () => {
    fc.assert(
      fc.property(pieces, fc.uint8Array({ maxLength: 300 }), fc.nat(300), (list, source, start) => {
        const { memory, all } = newMemory();
        const before = all.map((bytes) => bytes.slice());
        const segments = filled(memory, list);
        const stream = list.flatMap(({ address, length }) => Array.from({ length }, (_, i) => address + i));
        const position = Math.min(start, stream.length);
        const target = stream.slice(position, position + source.length);
        assert.equal(segments.copyFrom(source, position), target.length);
        const last = stream.at(-1);
        if (last !== undefined) segments.setLastByte(0x77);
        const expected = new Map(target.map((address, i) => [address, source[i]]));
        if (last !== undefined) expected.set(last, 0x77);
        const byteBefore = (address: number) => (address < SEAM ? before[0]?.[address] : before[1]?.[address - SEAM]);
        all.forEach((bytes, region) => {
          bytes.forEach((byte, i) => {
            const address = region * SEAM + i;
            assert.equal(byte, expected.get(address) ?? byteBefore(address), `${address}`);
          });
        });
      }),
    );
  });
});

suite('case by case', () => {
  test('a piece over the seam of two regions becomes two', () => {
    const segments = filled(newMemory().memory, [{ address: SEAM - 3, length: 8 }]);
    assert.deepEqual(
      segments.views().map(({ length }) => length),
      [3, 5],
    );
  });

  test('a piece of no bytes is none, wherever it points', () => {
    const segments = filled(newMemory().memory, [{ address: 2 ** 60, length: 0 }]);
    assert.deepEqual([segments.count, segments.totalBytes], [0, 0]);
  });

  test('a piece that begins in memory and ends outside is refused', () => {
    assert.throws(() => filled(newMemory().memory, [{ address: SEAM + 0xfff, length: 2 }]), DriverError);
  });

  test('after clear it is as new', () => {
    const { memory, all } = newMemory();
    const segments = filled(memory, [{ address: 0, length: 8 }]);
    segments.clear();
    assert.deepEqual([segments.count, segments.totalBytes], [0, 0]);
    segments.push(memory, 4, 2);
    assert.deepEqual(flatten(segments), [...(all[0] as Uint8Array).subarray(4, 6)]);
  });
});
