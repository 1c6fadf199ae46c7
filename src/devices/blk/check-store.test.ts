// Which objects are a store, and the error message for a missing, mistyped or misspelt member.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockStore } from './block-store.ts';
import { checkStore, unknownMembers } from './check-store.ts';

const store = { sizeBytes: 4096, read() {} };
const optional = ['write', 'readv', 'writev', 'prefetch', 'flush', 'discard', 'writeZeroes', 'refreshSize', 'close'];

test('a store passes, with everything it may have or without', () => {
  checkStore(store);
  const functions = Object.fromEntries(optional.map((name) => [name, () => {}]));
  const whole = { ...store, ...functions, name: 'x', alignment: 512, physicalBlockBytes: 4096, maxInFlight: 1 };
  checkStore(whole);
  assert.deepEqual(unknownMembers(whole as BlockStore), []);
});

for (const name of ['read', ...optional])
  test(`regression: ${name} that is no function is refused`, () => {
    const says = name === 'read' ? /^the disk has no read/ : new RegExp(`^${name} is a number; a function is wanted$`);
    assert.throws(() => checkStore({ ...store, [name]: 1 }), { name: 'TypeError', message: says });
  });

test('regression: a function that no store has is listed as a likely typing error', () => {
  const misspelt = { ...store, wirte() {}, prefecth() {} };
  assert.deepEqual(unknownMembers(misspelt), ['wirte', 'prefecth']);
  // A class may have other members.
  class Disk {
    readonly sizeBytes = 4096;
    read(): void {}
    helper(): void {}
  }
  assert.deepEqual(unknownMembers(new Disk()), []);
});

test('an invalid size is refused, with the unit it has to be a multiple of', () => {
  for (const sizeBytes of [undefined, 0, -512, 100, 1.5, Number.NaN, '4096', 4096n])
    assert.throws(
      () => checkStore({ ...store, sizeBytes }),
      /^TypeError: sizeBytes is .*; .* a positive multiple of 512$/,
    );
  assert.throws(() => checkStore({ ...store, sizeBytes: 512, alignment: 4096 }), /a positive multiple of 4096$/);
});

test('what is no object, or a promise of one, is refused', () => {
  for (const value of [undefined, null, 1, 'disk'])
    assert.throws(() => checkStore(value), /^TypeError: a BlockStore is an object/);
  assert.throws(() => checkStore(Promise.resolve(store)), /^TypeError: .* a promise of one: await it$/);
});
