// Mapped memory: shared, bounded, and not accessible once it is disposed.
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { closeFd } from './libc.ts';
import { Mapping } from './mapping.ts';
import { createMemfd } from './memfd.ts';

const PAGE = 4096;

test('two mappings of one file are the same memory', () => {
  const fd = createMemfd('shared', 2 * PAGE);
  using first = Mapping.ofFile(fd, 2 * PAGE);
  using second = Mapping.ofFile(fd, 2 * PAGE);
  closeFd(fd);
  assert.notEqual(first.address, second.address);
  first.bytes[PAGE + 1] = 42;
  assert.equal(second.bytes[PAGE + 1], 42);
  Atomics.store(new Uint16Array(second.bytes.buffer, 2, 1), 0, 0x1234);
  assert.equal(first.bytes[3], 0x12);
});

test('a mapping may begin at any page of its file', () => {
  const fd = createMemfd('offset', 3 * PAGE);
  using whole = Mapping.ofFile(fd, 3 * PAGE);
  using part = Mapping.ofFile(fd, PAGE, { offset: 2 * PAGE });
  closeFd(fd);
  whole.bytes[2 * PAGE + 5] = 7;
  assert.equal(part.bytes[5], 7);
  assert.equal(part.bytes.length, PAGE);
});

/** Mappings of the memfd `name`, and the bytes of all of them. */
function mappingsOf(name: string): { count: number; bytes: number } {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const ours = lines.filter((line) => line.includes(`memfd:${name} `)).map((line) => line.split(/[- ]/));
  return {
    count: ours.length,
    bytes: ours.reduce((sum, [start, end]) => sum + Number(`0x${end}`) - Number(`0x${start}`), 0),
  };
}

test('regression: a range of a file is mapped by itself, and not from the beginning of the file', () => {
  const fd = createMemfd('range', 64 * PAGE);
  using whole = Mapping.ofFile(fd, 64 * PAGE);
  const before = mappingsOf('range').bytes;
  for (const [offset, sizeBytes, pages] of [
    [32 * PAGE, PAGE, 1],
    [33 * PAGE - 8, 16, 2],
    [40 * PAGE + 100, PAGE - 100, 1],
    [63 * PAGE + 4, PAGE - 4, 1],
    [0, 64 * PAGE, 64],
  ] as const) {
    using range = Mapping.ofFileRange(fd, offset, sizeBytes, PAGE);
    assert.equal(mappingsOf('range').bytes - before, pages * PAGE);
    assert.equal(range.bytes.length, sizeBytes);
    range.bytes[0] = 1;
    range.bytes[sizeBytes - 1] = 2;
    assert.deepEqual([whole.bytes[offset], whole.bytes[offset + sizeBytes - 1]], [1, 2]);
    assert.equal(range.address % BigInt(PAGE), BigInt(offset % PAGE));
    range.keepPrivate();
  }
  assert.equal(mappingsOf('range').bytes, before, 'all of each was unmapped');
  closeFd(fd);
});

test('the blocks of a range may be larger than a page, as on hugetlbfs', () => {
  const fd = createMemfd('blocks', 64 * PAGE);
  {
    using range = Mapping.ofFileRange(fd, 17 * PAGE, PAGE, 16 * PAGE);
    assert.deepEqual(mappingsOf('blocks'), { count: 1, bytes: 16 * PAGE });
    assert.equal(range.bytes.byteOffset, PAGE);
  }
  closeFd(fd);
});

test('no view of a range is accessible once it is disposed', () => {
  const fd = createMemfd('stale range', 2 * PAGE);
  const range = Mapping.ofFileRange(fd, PAGE + 16, 32, PAGE);
  closeFd(fd);
  const view = new DataView(range.bytes.buffer, range.bytes.byteOffset, 32);
  range[Symbol.dispose]();
  range[Symbol.dispose]();
  assert.equal(range.bytes.length, 0);
  assert.throws(() => view.getUint8(0), TypeError);
  assert.equal(mappingsOf('stale range').count, 0);
});

test('regression: where the mapping cannot be wrapped, nothing stays mapped', (t) => {
  const fd = createMemfd('unwrapped', PAGE);
  const original = globalThis.Uint8Array;
  t.after(() => {
    globalThis.Uint8Array = original;
  });
  // What V8 throws for more bytes than an ArrayBuffer can have.
  globalThis.Uint8Array = class extends original {
    constructor() {
      super(0);
      throw new RangeError('Invalid typed array length');
    }
  } as unknown as Uint8ArrayConstructor;
  assert.throws(() => Mapping.ofFile(fd, PAGE), RangeError);
  globalThis.Uint8Array = original;
  assert.equal(mappingsOf('unwrapped').count, 0);
  closeFd(fd);
});

test('a file that may only be read can be mapped to be read', () => {
  const fd = openSync(import.meta.filename, 'r');
  assert.throws(() => Mapping.ofFile(fd, PAGE), { code: 'EACCES', syscall: 'mmap' });
  using mapping = Mapping.ofFile(fd, 60, { writable: false });
  closeSync(fd);
  assert.match(new TextDecoder().decode(mapping.bytes), /^\/\/ Mapped memory: shared/);
});

test('memory of our own is zeroes, and page-aligned', () => {
  using mapping = Mapping.anonymous(3 * PAGE);
  assert.ok(mapping.bytes.every((byte) => byte === 0));
  assert.equal(mapping.address % BigInt(PAGE), 0n);
});

test('what cannot be mapped is refused with its size', () => {
  assert.throws(() => Mapping.ofFile(-1, PAGE), {
    code: 'EBADF',
    message: 'mmap: EBADF: 4096 bytes at offset 0: the file cannot be mapped there',
  });
  const fd = createMemfd('odd', PAGE);
  assert.throws(() => Mapping.ofFile(fd, PAGE, { offset: 5 }), { code: 'EINVAL' });
  assert.throws(() => Mapping.ofFile(fd, 2 ** 50), {
    code: 'ENOMEM',
    message: /no room for 1125899906842624 bytes at offset 0: ask for less/,
  });
  assert.throws(() => Mapping.ofFile(fd, 0), { code: 'EINVAL' });
  closeFd(fd);
});

test('every view of a disposed mapping throws or is empty, and touches no memory', () => {
  const fd = createMemfd('stale', PAGE);
  const mapping = Mapping.ofFile(fd, PAGE);
  closeFd(fd);
  const part = mapping.bytes.subarray(16, 32);
  const view = new DataView(mapping.bytes.buffer, 8);
  const words = new Uint16Array(mapping.bytes.buffer);
  mapping[Symbol.dispose]();
  mapping[Symbol.dispose]();
  assert.equal(mapping.bytes.length, 0);
  assert.equal(part.length, 0);
  assert.equal(part[0], undefined);
  part[0] = 1;
  assert.throws(() => view.getUint8(0), TypeError);
  assert.throws(() => view.setUint32(0, 1, true), TypeError);
  assert.throws(() => Atomics.load(words, 0), TypeError);
  assert.throws(() => part.set([1]), TypeError);
  assert.throws(() => new Uint8Array(mapping.bytes.buffer), TypeError);
});

/** The flags the kernel shows for the mapping at an address, as in `rd wr mr mw me dd`. */
function flagsOf(mapping: Mapping): string[] {
  const entry = readFileSync('/proc/self/smaps', 'utf8').split(`${mapping.address.toString(16)}-`)[1] ?? '';
  return /VmFlags: (.*)/.exec(entry)?.[1]?.trim().split(' ') ?? [];
}

test('guest memory stays out of core dumps and of children', () => {
  using mapping = Mapping.anonymous(64 * PAGE);
  assert.ok(!flagsOf(mapping).includes('dd'));
  mapping.bytes[0] = 1;
  mapping.keepPrivate();
  const flags = flagsOf(mapping);
  assert.ok(flags.includes('dd') && flags.includes('dc'), flags.join(' '));
  assert.equal(mapping.bytes[0], 1);
});

test('what is disposed is unmapped', () => {
  const count = (): number => mappingsOf('counted').count;
  const fd = createMemfd('counted', PAGE);
  const mappings = [1, 2, 3].map(() => Mapping.ofFile(fd, PAGE));
  closeFd(fd);
  assert.equal(count(), 3);
  for (const mapping of mappings) mapping[Symbol.dispose]();
  assert.equal(count(), 0);
});
