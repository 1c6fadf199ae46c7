// The mapped file: the conformance suite on tmpfs, then holes, a full file system, and a size that changes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { ImageFile } from '../sys/file.ts';
import { patience } from '../testing/patience.ts';
import { storeConformance } from '../testing/store-conformance.ts';
import { AllocationMap } from './allocation-map.ts';
import { mappedFile } from './mapped-file.ts';

const TMPFS = 0x01021994;
const CHUNK = 32 * 1024;
const hasTmpfs = existsSync('/dev/shm') && statfsSync('/dev/shm').type === TMPFS;
const onTmpfs = { skip: hasTmpfs ? false : '/dev/shm is not a tmpfs' };
const folder = hasTmpfs ? mkdtempSync('/dev/shm/belfry-') : tmpdir();
const path = join(folder, 'disk.img');
if (hasTmpfs) after(() => rmSync(folder, { recursive: true }));

function openMapped(file: ImageFile, isShared = false): BlockStore {
  const map = new AllocationMap(file);
  if (isShared) map.share();
  return mappedFile(file, map);
}

/** A new image that is one hole, mapped. */
function fresh(
  sizeBytes: number,
  where = path,
): BlockStore & Required<Pick<BlockStore, 'write' | 'discard' | 'close'>> {
  writeFileSync(where, '');
  truncateSync(where, sizeBytes);
  return openMapped(ImageFile.open(where)) as ReturnType<typeof fresh>;
}

function allocatedBytes(where = path): number {
  return statSync(where).blocks * 512;
}

if (hasTmpfs) {
  storeConformance('mapped file', {
    open: () => fresh(1024 * 1024 + 5 * 512),
    members: ['write', 'discard', 'writeZeroes', 'refreshSize', 'close'],
  });
  storeConformance('mapped file that other threads may have too', {
    open: () => {
      fresh(1024 * 1024 + 5 * 512).close();
      return openMapped(ImageFile.open(path), true);
    },
    members: ['write', 'discard', 'writeZeroes', 'refreshSize', 'close'],
  });
  const content = new Uint8Array(70 * 512).map((_, i) => i * 7);
  const withHole = new Uint8Array(64 * CHUNK);
  withHole.set(content, 3 * CHUNK - 512);
  storeConformance('read-only mapped file with holes', {
    open: () => {
      writeFileSync(path, '');
      truncateSync(path, withHole.length);
      const writer = ImageFile.open(path);
      writer.writeFrom(3 * CHUNK - 512, content);
      writer[Symbol.dispose]();
      return openMapped(ImageFile.open(path, { readOnly: true }));
    },
    members: ['refreshSize', 'close'],
    content: withHole,
  });
}

test('reading holes allocates nothing, writing allocates what it touches, discarding gives it back', onTmpfs, () => {
  const store = fresh(16 * 1024 * 1024);
  const bytes = new Uint8Array(4096).fill(1);
  for (let at = 0; at < store.sizeBytes; at += 4096) {
    store.read(at, bytes);
    assert.ok(bytes.every((byte) => byte === 0));
  }
  assert.equal(allocatedBytes(), 0);
  store.write(10 * CHUNK, bytes.fill(1));
  assert.equal(allocatedBytes(), CHUNK);
  store.writeZeroes?.(20 * CHUNK, 8 * CHUNK, true);
  assert.equal(allocatedBytes(), CHUNK);
  store.writeZeroes?.(20 * CHUNK, CHUNK, false);
  assert.equal(allocatedBytes(), 2 * CHUNK);
  store.discard(0, store.sizeBytes);
  assert.equal(allocatedBytes(), 0);
  store.close();
});

test('what a file holds already is found when it is opened', onTmpfs, () => {
  const first = fresh(8 * CHUNK + 512);
  first.write(2 * CHUNK, new Uint8Array(3 * CHUNK).fill(3));
  first.write(8 * CHUNK, new Uint8Array(512).fill(4));
  first.close();
  using file = ImageFile.open(path);
  const map = new AllocationMap(file);
  const found = Array.from({ length: 9 }, (_, i) => map.covers(i * CHUNK, 512));
  assert.deepEqual(found, [false, false, true, true, true, false, false, false, true]);
  assert.equal(map.covers(2 * CHUNK, 3 * CHUNK), true);
  assert.equal(map.covers(2 * CHUNK, 3 * CHUNK + 1), false);
});

test('a chunk with a hole in it is not taken for allocated', onTmpfs, () => {
  fresh(2 * CHUNK).close();
  using file = ImageFile.open(path);
  file.writeFrom(0, new Uint8Array(CHUNK - 4096).fill(1));
  file.writeFrom(CHUNK + 4096, new Uint8Array(CHUNK - 4096).fill(1));
  const map = new AllocationMap(file);
  assert.equal(map.covers(0, 512), false);
  assert.equal(map.covers(CHUNK + 4096, 512), false);
});

/** A file system mounted for one test, or `undefined` where that is not possible: the test is skipped then. */
function mounted(context: TestContext, type: string, options: string): string | undefined {
  if (process.getuid?.() !== 0) return void context.skip(`mounting a ${type} needs root`);
  const mountPoint = mkdtempSync(join(tmpdir(), 'belfry-mount-'));
  try {
    execFileSync('mount', ['-t', type, '-o', options, type, mountPoint], { stdio: 'pipe', timeout: patience(10_000) });
  } catch {
    rmSync(mountPoint, { recursive: true });
    return void context.skip(`mounting a ${type} is not possible here`);
  }
  context.after(() => {
    execFileSync('umount', ['--lazy', mountPoint], { timeout: patience(10_000) });
    rmSync(mountPoint, { recursive: true });
  });
  return mountPoint;
}

test('on a full file system a write fails with ENOSPC, and everything else goes on', (context) => {
  const mountPoint = mounted(context, 'tmpfs', 'size=1m');
  if (mountPoint === undefined) return;
  const where = join(mountPoint, 'disk.img');
  const store = fresh(4 * 1024 * 1024, where);
  const bytes = new Uint8Array(CHUNK).fill(9);
  let written = 0;
  const fill = (): void => {
    for (; written < store.sizeBytes; written += CHUNK) store.write(written, bytes);
  };
  assert.throws(fill, { name: 'SystemError', code: 'ENOSPC', message: /the file system of .*disk\.img is full/ });
  assert.equal(written, 1024 * 1024);
  assert.throws(() => store.writeZeroes?.(written, CHUNK, false), { code: 'ENOSPC' });
  const into = new Uint8Array(CHUNK);
  store.read(0, into);
  assert.deepEqual(into, bytes);
  store.read(written, into);
  assert.ok(into.every((byte) => byte === 0));
  store.write(0, bytes.fill(8));
  // A discarded chunk is a hole again: the next store into it must allocate it, and not raise SIGBUS.
  store.discard(CHUNK, CHUNK);
  store.write(written, bytes);
  assert.throws(() => store.write(CHUNK, bytes), { code: 'ENOSPC' });
  store.close();
});

test('a file that grew or shrank is mapped anew, and what it gained is not taken for allocated', onTmpfs, () => {
  const store = fresh(CHUNK + 512);
  const bytes = new Uint8Array(512).fill(5);
  const into = new Uint8Array(512);
  store.write(CHUNK, bytes);
  truncateSync(path, 6 * CHUNK + 100);
  assert.equal(store.refreshSize?.(), 6 * CHUNK);
  assert.equal(store.sizeBytes, 6 * CHUNK);
  store.read(CHUNK, into);
  assert.deepEqual(into, bytes);
  const before = allocatedBytes();
  store.read(2 * CHUNK - 512, into);
  assert.deepEqual(into, new Uint8Array(512));
  assert.equal(allocatedBytes(), before);
  store.write(6 * CHUNK - 512, bytes);
  truncateSync(path, CHUNK);
  assert.equal(store.refreshSize?.(), CHUNK);
  truncateSync(path, 6 * CHUNK);
  assert.equal(store.refreshSize?.(), 6 * CHUNK);
  store.read(6 * CHUNK - 512, into);
  assert.deepEqual(into, new Uint8Array(512));
  assert.equal(allocatedBytes(), 0);
  store.close();
});

/** The number of free huge pages of the default size. */
function freeHugePages(): { count: number; pageBytes: number } {
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  const value = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0);
  return { count: value('HugePages_Free'), pageBytes: value('Hugepagesize') * 1024 };
}

test('on hugetlbfs a chunk is a huge page, and without a free one a write fails with ENOSPC', (context) => {
  const { count, pageBytes } = freeHugePages();
  if (count < 3) return context.skip('fewer than 3 huge pages are free: sysctl vm.nr_hugepages=8');
  const mountPoint = mounted(context, 'hugetlbfs', `size=${2 * pageBytes}`);
  if (mountPoint === undefined) return;
  const where = join(mountPoint, 'disk.img');
  const store = fresh(3 * pageBytes, where);
  const bytes = new Uint8Array(4096).fill(6);
  const into = new Uint8Array(4096);
  store.write(pageBytes - 4096, bytes);
  assert.equal(allocatedBytes(where), pageBytes);
  store.read(2 * pageBytes, into);
  assert.deepEqual(into, new Uint8Array(4096));
  assert.equal(allocatedBytes(where), pageBytes);
  store.write(pageBytes, bytes);
  assert.throws(() => store.write(2 * pageBytes, bytes), { code: 'ENOSPC' });
  store.discard(0, pageBytes);
  store.write(2 * pageBytes, bytes);
  store.close();
  const again = openMapped(ImageFile.open(where));
  for (const [offset, expected] of [
    [pageBytes - 4096, 0],
    [pageBytes, 6],
    [2 * pageBytes, 6],
  ] as const) {
    again.read(offset, into);
    assert.deepEqual(into, new Uint8Array(4096).fill(expected));
  }
  again.writeZeroes?.(pageBytes, 4096, true);
  again.read(pageBytes, into);
  assert.deepEqual(into, new Uint8Array(4096));
  again.close?.();
});

test('a file of huge pages that has no hole is known to have none', (context) => {
  const { count, pageBytes } = freeHugePages();
  if (count < 2) return context.skip('fewer than 2 huge pages are free: sysctl vm.nr_hugepages=8');
  const mountPoint = mounted(context, 'hugetlbfs', `size=${2 * pageBytes}`);
  if (mountPoint === undefined) return;
  const store = fresh(2 * pageBytes, join(mountPoint, 'disk.img'));
  store.write(0, new Uint8Array(2 * pageBytes));
  store.close();
  using file = ImageFile.open(join(mountPoint, 'disk.img'));
  assert.equal(new AllocationMap(file).covers(0, 2 * pageBytes), true);
});
