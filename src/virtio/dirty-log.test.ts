// virtio: the log of written pages: which bits of which bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DirtyLog, dirtyLogBytes } from './dirty-log.ts';
import { GuestMemory } from './guest-memory.ts';
import { Segments } from './segments.ts';

const PAGE = 4096;

/** The pages that are marked. */
function marked(bytes: Uint8Array): number[] {
  return [...bytes].flatMap((byte, at) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte >> bit) & 1).map((bit) => 8 * at + bit),
  );
}

for (const [address, length, pages] of [
  [0, 1, [0]],
  [PAGE - 1, 1, [0]],
  [PAGE - 1, 2, [0, 1]],
  [7 * PAGE, PAGE, [7]],
  [7 * PAGE, 2 * PAGE + 1, [7, 8, 9]],
] as const) {
  test(`${length} bytes at ${address} mark the pages [${pages}]`, () => {
    const bytes = new Uint8Array(4);
    new DirtyLog(bytes).mark(address, length);
    assert.deepEqual(marked(bytes), pages);
  });
}

test('a log has a bit for the last page of guest memory, and none for pages beyond its end', () => {
  assert.deepEqual([dirtyLogBytes(1), dirtyLogBytes(8 * PAGE), dirtyLogBytes(8 * PAGE + 1)], [1, 1, 2]);
  const bytes = new Uint8Array(1);
  assert.throws(() => new DirtyLog(bytes).mark(8 * PAGE, 1), RangeError);
  assert.deepEqual(marked(bytes), []);
});

test('a request marks the pages of all its pieces, in whatever region, above 4 GiB too', () => {
  const high = 2 ** 32;
  const regions = [0, high].map((guestAddress) => ({ guestAddress, bytes: new Uint8Array(4 * PAGE) }));
  const memory = new GuestMemory(regions);
  const segments = new Segments();
  segments.push(memory, PAGE + 5, 10);
  segments.push(memory, high + 2 * PAGE - 1, 2);
  const bytes = new Uint8Array(dirtyLogBytes(high + 4 * PAGE));
  segments.markDirty(new DirtyLog(bytes));
  const first = high / PAGE;
  assert.deepEqual(marked(bytes.subarray(0, 1)), [1]);
  assert.deepEqual(marked(bytes.subarray(first / 8)), [1, 2]);
  assert.equal(bytes.filter((byte) => byte !== 0).length, 2);
});

test('the guest address of a slice is that which it was made from', () => {
  const memory = new GuestMemory([
    { guestAddress: 0x1000, bytes: new Uint8Array(64) },
    { guestAddress: 0x8000, bytes: new Uint8Array(64).subarray(16) },
  ]);
  for (const address of [0x1000, 0x1010, 0x8000, 0x8020])
    assert.equal(memory.addressOf(memory.slice(address, 8)), address);
  assert.throws(() => memory.addressOf(new Uint8Array(8)), RangeError);
});
