// However a driver splits its data, the same bytes are moved, and the store gets whole sectors, each once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GuestMemory } from '../../virtio/guest-memory.ts';
import { Segments } from '../../virtio/segments.ts';
import type { MaybePromise } from './block-store.ts';
import { BlockTransfer } from './block-transfer.ts';

const SECTORS_MAX = 6;
const OFFSET = 4096;
const SIGNAL = new AbortController().signal;

/** Offsets at which `sectors` sectors are split, and whether the store is async. */
const cases = fc.record({
  sectors: fc.integer({ min: 1, max: SECTORS_MAX }),
  cuts: fc.array(fc.nat(SECTORS_MAX * 512), { maxLength: 12 }),
  late: fc.constantFrom('never', 'always', 'every other time'),
});

/** Guest memory with the pieces, and one byte between neighbours. */
function cutUp(sectors: number, cuts: readonly number[], fill: (i: number) => number) {
  const total = sectors * 512;
  const ends = [...new Set([...cuts.filter((cut) => cut > 0 && cut < total), total])].toSorted((a, b) => a - b);
  const bytes = new Uint8Array(total + ends.length).fill(0xee);
  const memory = new GuestMemory([{ guestAddress: 0, bytes }]);
  const data = new Segments();
  const places: number[] = [];
  ends.forEach((end, i) => {
    const start = ends[i - 1] ?? 0;
    data.push(memory, start + i, end - start);
    for (let at = start; at < end; at++) places.push(at + i);
  });
  for (const [i, place] of places.entries()) bytes[place] = fill(i);
  return { data, bytes, places };
}

for (const isRead of [true, false]) {
  test(`${isRead ? 'a read' : 'a write'} moves every byte once, wherever it is cut`, async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ sectors, cuts, late }) => {
        const { data, bytes, places } = cutUp(sectors, cuts, (i) => (isRead ? 0 : (i * 7) & 0xff));
        const disk = Uint8Array.from({ length: sectors * 512 }, (_, i) => (isRead ? (i * 11 + 1) & 0xff : 0));
        const asked: number[] = [];
        const move = (offset: number, piece: Uint8Array): MaybePromise<void> => {
          assert.ok(offset % 512 === 0 && piece.length % 512 === 0 && piece.length > 0, `${piece.length} at ${offset}`);
          for (let at = 0; at < piece.length; at += 512) asked.push(offset + at);
          const doIt = (): void => {
            if (isRead) piece.set(disk.subarray(offset - OFFSET, offset - OFFSET + piece.length));
            else disk.set(piece, offset - OFFSET);
          };
          const isLate = late === 'always' || (late === 'every other time' && asked.length % 2 === 0);
          return isLate ? Promise.resolve().then(doIt) : doIt();
        };
        const transfer = new BlockTransfer({ sizeBytes: 2 ** 20, read: move, write: move });
        await transfer.move(data, 0, data.totalBytes, OFFSET, isRead, SIGNAL);
        assert.deepEqual(
          asked,
          Array.from({ length: sectors }, (_, i) => OFFSET + i * 512),
        );
        assert.deepEqual(
          places.map((place) => bytes[place]),
          [...disk],
        );
        const between = new Set(places);
        assert.ok(bytes.every((byte, at) => between.has(at) || byte === 0xee));
      }),
    );
  });
}

test('no data is nothing to do', () => {
  const transfer = new BlockTransfer({ sizeBytes: 0, read: () => assert.fail('asked') });
  assert.equal(transfer.move(new Segments(), 0, 0, 0, true, SIGNAL), undefined);
});

for (const isRead of [true, false]) {
  test(`regression: a store of larger blocks gets whole ones in ${isRead ? 'a read' : 'a write'} that is cut at sectors`, async () => {
    const { data } = cutUp(8, [512, 1024], () => 0);
    const asked: [number, number][] = [];
    const move = (offset: number, piece: Uint8Array): void => void asked.push([offset, piece.length]);
    const transfer = new BlockTransfer({ sizeBytes: 2 ** 20, alignment: 4096, read: move, write: move });
    await transfer.move(data, 0, data.totalBytes, OFFSET, isRead, SIGNAL);
    assert.deepEqual(asked, [[OFFSET, 4096]]);
  });
}
