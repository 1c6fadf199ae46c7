// AML: each term byte by byte, as in chapter 20 of ACPI 6.5, and resource descriptors, as in chapter 6.4.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as aml from './aml.ts';

const hex = (bytes: aml.Aml): string => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');

test('§20.2.4: a package length counts itself, and takes one to four bytes', () => {
  assert.equal(hex(aml.packageLength(0)), '01');
  assert.equal(hex(aml.packageLength(0x3e)), '3f');
  assert.equal(hex(aml.packageLength(0x3f)), '41 04');
  assert.equal(hex(aml.packageLength(0xffd)), '4f ff');
  assert.equal(hex(aml.packageLength(0xffe)), '81 00 01');
  assert.equal(hex(aml.packageLength(0xf_fffc)), '8f ff ff');
  assert.equal(hex(aml.packageLength(0xf_fffd)), 'c1 00 00 01');
  assert.throws(() => aml.packageLength(0x1000_0000), RangeError);
});

test('§20.2.2: names are padded to four characters, and have only letters, digits and _', () => {
  assert.equal(hex(aml.nameString('_S5')), '5f 53 35 5f');
  assert.equal(hex(aml.nameString('\\_SB')), '5c 5f 53 42 5f');
  for (const bad of ['', 'abc', '1ABC', 'ABCDE', 'A B', '\\\\A']) assert.throws(() => aml.nameString(bad), RangeError);
});

test('§20.2.3: an integer takes as few bytes as it needs', () => {
  const cases: readonly [value: number, bytes: string][] = [
    [0, '00'],
    [1, '01'],
    [2, '0a 02'],
    [0xff, '0a ff'],
    [0x100, '0b 00 01'],
    [0xffff, '0b ff ff'],
    [0x1_0000, '0c 00 00 01 00'],
    [0xffff_ffff, '0c ff ff ff ff'],
    [0x1_0000_0000, '0e 00 00 00 00 01 00 00 00'],
  ];
  for (const [value, bytes] of cases) assert.equal(hex(aml.integer(value)), bytes);
});

test('§19.3.4: an EISA id is packed as the assembler packs PNP0A03', () => {
  assert.equal(hex(aml.eisaId('PNP0A03')), '0c 41 d0 0a 03');
  assert.equal(hex(aml.eisaId('PNP0501')), '0c 41 d0 05 01');
  for (const bad of ['PNP050', 'pnp0501', 'PNP05011']) assert.throws(() => aml.eisaId(bad), RangeError);
});

test('names, scopes, devices, lists and strings nest', () => {
  const list = aml.list(aml.integer(5), aml.integer(0));
  assert.equal(hex(aml.name('\\_S5', list)), '08 5c 5f 53 35 5f 12 05 02 0a 05 00');
  const device = aml.device('VR00', aml.name('_HID', aml.string('LN')));
  assert.equal(hex(device), '5b 82 0e 56 52 30 30 08 5f 48 49 44 0d 4c 4e 00');
  assert.equal(hex(aml.scope('\\_SB', device)), `10 16 5c 5f 53 42 5f ${hex(device)}`);
});

test('§6.4: resources are a buffer of descriptors with an end tag', () => {
  assert.equal(hex(aml.resources()), '11 05 0a 02 79 00');
  assert.equal(hex(aml.ioPorts(0x3f8, 8)), '47 01 f8 03 f8 03 01 08');
  assert.equal(hex(aml.fixedMemory(0xd000_0000, 0x1000)), '86 09 00 01 00 00 00 d0 00 10 00 00');
  assert.equal(hex(aml.edgeInterrupt(5)), '89 06 00 03 01 05 00 00 00');
});

test('§6.4.3.5: a bridge describes the range that it forwards, from the first address to the last', () => {
  assert.equal(
    hex(aml.passedOn('memory', 0xc000_0000, 0xd000_0000)),
    '87 17 00 00 0c 01 00 00 00 00 00 00 00 c0 ff ff ff cf 00 00 00 00 00 00 00 10',
  );
  assert.equal(hex(aml.passedOn('busNumbers', 0, 1)), '88 0d 00 02 0c 00 00 00 00 00 00 00 00 00 01 00');
});
