// The clock of a PC: the time in BCD or binary, and its status registers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CmosClock } from './cmos-clock.ts';

const NOW = new Date(Date.UTC(2026, 10, 29, 23, 58, 7)); // a Sunday

function read(clock: CmosClock, address: number): number {
  clock.write(0, address);
  return clock.read(1);
}

function write(clock: CmosClock, address: number, value: number): void {
  clock.write(0, address);
  clock.write(1, value);
}

test('the time is read in BCD, and in binary once that is set', () => {
  const clock = new CmosClock(() => NOW);
  const time = (): number[] => [0, 2, 4, 6, 7, 8, 9, 0x32].map((address) => read(clock, address));
  assert.deepEqual(time(), [0x07, 0x58, 0x23, 0x01, 0x29, 0x11, 0x26, 0x20]);
  write(clock, 0x0b, 4);
  assert.deepEqual(time(), [7, 58, 23, 1, 29, 11, 26, 20]);
  assert.equal(read(clock, 0x0b), 6, 'and always of 24 hours');
});

test('no update is ever in progress, no alarm pending, and the battery is good', () => {
  const clock = new CmosClock(() => NOW);
  assert.deepEqual([read(clock, 0x0a) & 0x80, read(clock, 0x0c), read(clock, 0x0d)], [0, 0, 0x80]);
});

test('memory keeps what was written, the time does not', () => {
  const clock = new CmosClock(() => NOW);
  write(clock, 0x40, 0x5a);
  write(clock, 0, 0x33);
  assert.deepEqual([read(clock, 0x40), read(clock, 0)], [0x5a, 0x07]);
});

test('the bit that masks NMI is not part of the address, which cannot be read back', () => {
  const clock = new CmosClock(() => NOW);
  assert.equal(read(clock, 0x80 | 2), 0x58);
  assert.equal(clock.read(0), 0xff);
});
