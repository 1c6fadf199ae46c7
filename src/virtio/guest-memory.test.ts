// Guest addresses: bytes inside a region, a DriverError anywhere else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DriverError } from './errors.ts';
import { GuestMemory } from './guest-memory.ts';

const low = new Uint8Array(0x100).fill(1);
const next = new Uint8Array(0x80).fill(2);
/** A view that does not start where its buffer does. */
const high = new Uint8Array(0x200).subarray(0x10, 0x110).fill(3);
const HIGH = 2 ** 40;

const memory = new GuestMemory([
  { guestAddress: HIGH, bytes: high },
  { guestAddress: 0x1000, bytes: low },
  { guestAddress: 0x1100, bytes: next },
]);

test('regions may come in any order, and bytes are shared, not copied', () => {
  const slice = memory.slice(HIGH + 0xf0, 0x10);
  assert.deepEqual(slice, new Uint8Array(0x10).fill(3));
  high[0xff] = 9;
  assert.equal(slice[0xf], 9);
  slice[0] = 8;
  assert.equal(high[0xf0], 8);
});

test('a region reaches from its first byte to its last', () => {
  for (const [address, byte] of [
    [0x1000, 1],
    [0x10ff, 1],
    [0x1100, 2],
    [0x117f, 2],
    [HIGH, 3],
    [0x1000, 1],
  ] as const)
    assert.deepEqual([...memory.slice(address, 1)], [byte]);
});

for (const [name, address, length] of [
  ['before the first region', 0xfff, 1],
  ['after a region', 0x1180, 1],
  ['in a hole', 0x2000, 4],
  ['at zero', 0, 1],
  ['after the last region', HIGH + 0x100, 1],
  ['that a double cannot tell from its neighbour', 2 ** 53, 1],
  ['at the end of 64 bits', 2 ** 64 - 1, 16],
  ['over the end of a region', HIGH + 0xff, 2],
  ['of a length that wraps', 0x1000, 2 ** 32 - 1],
  ['over the seam of two regions, where it must lie in one', 0x10ff, 2],
] as const) {
  test(`memory ${name} is the driver’s mistake`, () => {
    assert.throws(
      () => memory.slice(address, length),
      (error) => error instanceof DriverError && error.clause === '§2.7.5' && error.code === 'BELFRY_DRIVER',
    );
  });
}

test('overlapping regions are refused, touching ones are not', () => {
  const bytes = new Uint8Array(16);
  assert.throws(
    () =>
      new GuestMemory([
        { guestAddress: 8, bytes },
        { guestAddress: 0, bytes },
      ]),
    RangeError,
  );
  assert.doesNotThrow(
    () =>
      new GuestMemory([
        { guestAddress: 16, bytes },
        { guestAddress: 0, bytes },
      ]),
  );
});

test('no memory at all has no addresses', () => {
  assert.throws(() => new GuestMemory([]).slice(0, 1), DriverError);
});

test('regression: of hundreds of regions the right one is found, in whatever order they came and went', () => {
  const COUNT = 509;
  const [LENGTH, STRIDE] = [16, 48];
  const regionAt = (i: number) => ({ guestAddress: 1000 + i * STRIDE, bytes: new Uint8Array(LENGTH).fill(i % 251) });
  const memory = new GuestMemory();
  // 7 and 11 have no factor in common with 509: every number comes once.
  for (let i = 0; i < COUNT; i++) memory.add(regionAt((i * 7) % COUNT));
  for (let i = 0; i < COUNT; i += 2) memory.remove(1000 + i * STRIDE);
  for (let n = 0; n < COUNT; n++) {
    const i = (n * 11) % COUNT;
    const start = 1000 + i * STRIDE;
    for (const address of [start, start + LENGTH - 1]) {
      if (i % 2 === 1) assert.equal(memory.slice(address, 1)[0], i % 251);
      else assert.throws(() => memory.slice(address, 1), DriverError);
    }
    for (const address of [start - 1, start + LENGTH]) assert.throws(() => memory.slice(address, 1), DriverError);
  }
  assert.throws(() => memory.add(regionAt(1)), RangeError);
});
