// Direct I/O: the conformance suite on both engines, data anywhere in memory, blocks of 4096 bytes, and what is refused.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { alignedBytes, isAligned } from '../sys/direct-io.ts';
import { makeLoopDevice } from '../testing/loop-device.ts';
import { storeConformance } from '../testing/store-conformance.ts';
import { storeOnLoop } from '../testing/store-on-loop.ts';
import { type EngineName, openStore, reopenStore } from './open-store.ts';
import { uringProblem } from './ring-file.ts';

const MEMBERS = ['write', 'readv', 'writev', 'flush', 'discard', 'writeZeroes', 'refreshSize', 'close'] as const;
const MEBIBYTE = 1024 * 1024;
const TMPFS = 0x01021994;
const ENGINES: readonly EngineName[] = uringProblem() === undefined ? ['uring', 'sync'] : ['sync'];

const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
after(() => rmSync(folder, { recursive: true }));
const inMemory = statfsSync(folder).type === TMPFS && `${tmpdir()} is on tmpfs, which has no direct I/O`;

function image(name: string, sizeBytes = MEBIBYTE + 3 * 4096): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

describe('a file', { skip: inMemory }, () => {
  for (const engine of ENGINES) {
    const open = (): BlockStore => storeOnLoop(openStore(image('disk.img'), { engine, direct: true }).store);
    storeConformance(`direct I/O, engine ${engine}`, { open, members: MEMBERS });
  }

  test('data at any address arrives, in one piece and in many, on this thread and on another', async () => {
    const { store, description } = openStore(image('odd.img'), { direct: true });
    const other = reopenStore(description);
    const { alignment: block = 512 } = store;
    for (const skip of [0, 1, 3, block - 1]) {
      const from = new Uint8Array(4 * block + skip).subarray(skip).map((_, i) => i + skip);
      await store.write?.(block, from);
      const into = new Uint8Array(4 * block + skip).subarray(skip);
      await other.read(block, into);
      assert.deepEqual(into, from);
      const pieces = [into.subarray(0, 100), into.subarray(100, block), into.subarray(block)];
      await other.writev?.(8 * block, pieces);
      into.fill(0);
      await store.readv?.(8 * block, pieces);
      assert.deepEqual(into, from);
    }
    await store.close?.();
    await other.close?.();
  });

  test('it bypasses the page cache, and what was there before is written first', async () => {
    const path = image('cached.img');
    const cached = openStore(path);
    const from = new Uint8Array(4096).fill(7);
    await cached.store.write?.(0, from);
    await cached.store.close?.();
    const { store } = openStore(path, { direct: true });
    const into = new Uint8Array(4096);
    await store.read(0, into);
    assert.deepEqual(into, from);
    const all = new Uint8Array(MEBIBYTE).fill(9);
    await store.write?.(0, all);
    await store.read(0, all);
    await store.close?.();
    const [, pages] =
      /^(\d+)/m.exec(
        execFileSync('fincore', ['--noheadings', '--output', 'PAGES', path], { encoding: 'utf8' }).trim(),
      ) ?? [];
    // The first and the last bytes were read before, to recognize the format of the image.
    assert.ok(Number(pages) <= 2, `${pages} pages`);
  });

  test('an engine that maps the image cannot bypass the cache', () => {
    const path = image('mapped.img');
    assert.throws(
      () => openStore(path, { engine: 'mapped', direct: true }),
      /engine mapped: the image is not in memory/,
    );
  });
});

describe('a device with blocks of 4096 bytes', () => {
  const device = makeLoopDevice(MEBIBYTE, 4096);
  const skip = typeof device === 'string' && device;
  after(() => typeof device === 'string' || device[Symbol.dispose]());

  test('the disk has blocks of 4096 bytes with direct I/O, and of 512 without', { skip }, async () => {
    const { path } = device as Exclude<typeof device, string>;
    for (const [direct, alignment] of [
      [true, 4096],
      [false, 512],
    ] as const) {
      const { store } = openStore(path, { direct });
      assert.equal(store.alignment, alignment);
      const from = new Uint8Array(alignment).fill(alignment);
      await store.write?.(alignment, from);
      const into = new Uint8Array(alignment);
      await store.read(alignment, into);
      assert.deepEqual(into, from);
      await store.close?.();
    }
  });

  for (const engine of ENGINES) {
    const test = skip ? undefined : { open: () => openDevice(engine), members: MEMBERS };
    if (test) storeConformance(`direct I/O in blocks of 4096 bytes, engine ${engine}`, test);
  }

  function openDevice(engine: EngineName): BlockStore {
    const { path } = device as Exclude<typeof device, string>;
    return storeOnLoop(openStore(path, { engine, direct: true }).store);
  }
});

test('what is in memory has no cache to bypass: one line says so', () => {
  assert.throws(
    () => openStore('mem:1M', { direct: true }),
    /mem:1M is in memory \(tmpfs\), where nothing is cached: leave out --direct/,
  );
});

test('an image whose size is no multiple of the blocks of its direct I/O is refused, with the size that fits', (t) => {
  using stack = new DisposableStack();
  const device = makeLoopDevice(16 * MEBIBYTE, 4096);
  if (typeof device === 'string') return t.skip(device);
  stack.use(device);
  execFileSync('mkfs.ext4', ['-q', device.path]);
  const there = join(folder, 'mount');
  mkdirSync(there);
  execFileSync('mount', [device.path, there]);
  stack.defer(() => execFileSync('umount', [there]));
  const path = join(there, 'disk.img');
  writeFileSync(path, new Uint8Array(9 * 512));
  assert.throws(() => openStore(path, { direct: true }), /has 4608 bytes, not a multiple of 4096.*"truncate -s %4096/);
  const { store } = openStore(path);
  assert.equal(store.sizeBytes, 4608);
  store.close?.();
});

test('memory is aligned as asked, and is known to be', () => {
  for (const alignment of [512, 4096]) {
    const bytes = alignedBytes(3 * alignment, alignment);
    assert.equal(isAligned(bytes, alignment), true);
    assert.equal(isAligned(bytes.subarray(1), alignment), false);
    assert.equal(isAligned(bytes.subarray(0, alignment - 1), alignment), false);
    assert.equal(isAligned(bytes.subarray(alignment), alignment), true);
  }
});
