// Every chain of up to three descriptors, and every cut of whole requests, from our driver side to our device side.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockRequest, encodeReadable } from '../../src/testing/block-request.ts';
import { every } from '../../src/testing/every.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import { pattern } from '../reference/array-store.ts';
import { ChainHarness, type Piece } from '../reference/chain-harness.ts';

const FLAGS = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;
const EVENT_IDX = FLAGS | VIRTIO_F_EVENT_IDX;
const LENGTHS = [0, 1, 15, 16, 17, 32, 512, 513, 528];
const TYPES = [0, 1, 4, 8, 11, 13, 0x4242];

/** A header, then what can be taken for a range of two sectors, then bytes. */
function streamOf(type: number): Uint8Array {
  const bytes = pattern(LENGTHS.at(-1)! * 3);
  const range = blockRequest.writeZeroes({ sector: 2, sectors: 2 });
  bytes.set(encodeReadable({ ...range, type, sector: 1 }));
  return bytes;
}

for (const features of [FLAGS, EVENT_IDX]) {
  for (const readOnly of [false, true]) {
    const name = `${features === FLAGS ? 'flags' : 'EVENT_IDX'}, ${readOnly ? 'read-only' : 'writable'}`;
    test(`every chain of up to three descriptors gives what the model says (${name})`, () => {
      const seen = { served: 0, refused: 0 };
      const harness = new ChainHarness({ features, readOnly, pieces: 3, pieceBytes: LENGTHS.at(-1)! });
      for (const type of readOnly ? [0, 1, 11, 13] : TYPES) {
        const stream = streamOf(type);
        for (const choose of every()) {
          const count = 1 + choose.below(3);
          const pieces = Array.from({ length: count }, () => ({ writable: choose.flip(), length: choose.of(LENGTHS) }));
          const indirectFrom = choose.below(count + 1);
          seen[harness.check(pieces, indirectFrom, stream)]++;
        }
      }
      assert.ok(seen.served > 10_000 && seen.refused > 1000, JSON.stringify(seen));
    });
  }
}

/** Every way to cut `total` bytes into up to `max` pieces that have some. */
function* cuts(total: number, max: number): Generator<number[]> {
  yield [total];
  if (max > 1) {
    for (let first = 1; first < total; first++) for (const rest of cuts(total - first, max - 1)) yield [first, ...rest];
  }
}

const toPieces = (lengths: readonly number[], writable: boolean): Piece[] =>
  lengths.map((length) => ({ length, writable }));

/** Cuts one whole request everywhere: `readableCuts` and `writableCuts` pieces at most. */
function cutEverywhere(type: number, readable: number, writable: number, readableCuts: number, writableCuts: number) {
  const pieces = readableCuts + writableCuts;
  const harness = new ChainHarness({ features: EVENT_IDX, pieces, pieceBytes: Math.max(readable, writable) });
  const stream = streamOf(type);
  let count = 0;
  for (const readableLengths of cuts(readable, readableCuts)) {
    for (const writableLengths of cuts(writable, writableCuts)) {
      const chain = [...toPieces(readableLengths, false), ...toPieces(writableLengths, true)];
      assert.equal(harness.check(chain, count++ % (chain.length + 1), stream), 'served');
    }
  }
  return count;
}

test('§2.7.4.1 a write may be cut anywhere: header and data in every three pieces', () => {
  assert.equal(cutEverywhere(1, 16 + 512, 1, 3, 1), 1 + 527 + (527 * 526) / 2);
});

test('§2.7.4.1 a read may be cut anywhere: data and status in every three pieces', () => {
  assert.equal(cutEverywhere(0, 16, 512 + 1, 1, 3), 1 + 512 + (512 * 511) / 2);
});

test('§2.7.4.1 a read may be cut anywhere: header in every three pieces, data and status in every two', () => {
  assert.equal(cutEverywhere(0, 16, 1024 + 1, 3, 2), (1 + 15 + 105) * 1025);
});

test('§2.7.4.1 GET_ID, DISCARD and WRITE_ZEROES may be cut anywhere', () => {
  cutEverywhere(8, 16, 21, 3, 3);
  cutEverywhere(11, 32, 1, 4, 1);
  cutEverywhere(13, 32, 1, 4, 1);
  cutEverywhere(4, 16, 1, 4, 1);
});
