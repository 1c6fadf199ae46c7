// The memory disk: the conformance suite, and properties of memory alone.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { storeConformance } from '../testing/store-conformance.ts';
import { memory, memoryFile } from './memory.ts';
import { parseSize } from './size.ts';

storeConformance('memory', {
  open: () => memory(1024 * 1024 + 3 * 512),
  members: ['write', 'discard', 'writeZeroes', 'refreshSize', 'close'],
});

test('a memory disk starts as zeroes, takes no memory for being read, and has its size in its name', () => {
  using file = memoryFile(parseSize('64M'));
  const into = new Uint8Array(1024 * 1024).fill(1);
  file.readInto(file.currentSize() - into.length, into);
  assert.ok(into.every((byte) => byte === 0));
  assert.equal(file.allocatedBytes(), 0);
  assert.equal(file.name, 'mem:64M');
});

test('a memory disk of 4 TiB can be used at both ends', () => {
  const store = memory(parseSize('4T'));
  const bytes = new Uint8Array(4096).fill(7);
  const into = new Uint8Array(4096);
  for (const offset of [0, store.sizeBytes - 4096]) {
    store.write?.(offset, bytes);
    store.read(offset, into.fill(0));
    assert.deepEqual(into, bytes);
  }
  store.close?.();
});

test('a closed memory disk fails its requests and nothing else', () => {
  const store = memory(65536);
  const bytes = new Uint8Array(4096);
  store.write?.(0, bytes);
  store.close?.();
  assert.throws(() => store.read(0, bytes), TypeError);
  assert.throws(() => store.write?.(0, bytes), TypeError);
  assert.throws(() => store.read(32768, bytes), { code: 'EBADF' });
  store.close?.();
});

test('a memory disk that is too large for this machine is refused with one line, and leaves nothing open', () => {
  const open = (): number => readdirSync('/proc/self/fd').length;
  const before = open();
  assert.throws(() => memory(parseSize('4096T')), {
    name: 'SystemError',
    code: 'ENOMEM',
    message: /^mmap: ENOMEM: mem:4096T: this machine cannot map 4096T: .* choose a smaller size$/,
  });
  assert.equal(open(), before);
});

test('a memory disk of a size that is none is refused', () => {
  for (const size of [0, -512, 1000, 0.5, Number.NaN, '64M'])
    assert.throws(() => memory(size as number), { name: 'RangeError', message: /positive multiple of 512/ });
});

test('regression: a memory disk stays out of core dumps and of children', () => {
  const store = memory(65536 + 4096);
  const entry = readFileSync('/proc/self/smaps', 'utf8').split('memfd:mem:68K')[1] ?? '';
  const flags = /VmFlags: (.*)/.exec(entry)?.[1]?.trim().split(' ') ?? [];
  assert.ok(flags.includes('dd') && flags.includes('dc'), flags.join(' '));
  store.close?.();
});
