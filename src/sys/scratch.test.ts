// Scratch memory for the arguments of system calls: it does not move.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callScratch, Scratch } from './scratch.ts';

test('a scratch has at least the size wanted, in whole pages, and its views are one memory', () => {
  for (const [wanted, got] of [
    [1, 4096],
    [4096, 4096],
    [4097, 8192],
  ] as const) {
    using scratch = new Scratch(wanted);
    assert.equal(scratch.bytes.length, got);
    assert.equal(scratch.address % 4096n, 0n);
    scratch.view.setUint32(got - 4, 0x01020304, true);
    assert.deepEqual([...scratch.bytes.subarray(got - 4)], [4, 3, 2, 1]);
  }
});

test('a string ends with NUL where it was put, over whatever was there', () => {
  using scratch = new Scratch(64);
  scratch.bytes.fill(0xff);
  assert.equal(scratch.cString(10, 'schön'), scratch.address + 10n);
  assert.deepEqual([...scratch.bytes.subarray(9, 18)], [0xff, ...new TextEncoder().encode('schön'), 0, 0xff]);
});

test('a scratch is not accessible once it is disposed', () => {
  const scratch = new Scratch(1);
  scratch[Symbol.dispose]();
  assert.throws(() => scratch.view.getUint8(0), TypeError);
});

test('the scratch of a thread has room for any argument of ours', () => {
  assert.equal(callScratch.bytes.length, 64 * 1024);
});
