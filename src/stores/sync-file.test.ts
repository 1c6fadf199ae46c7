// The plain file: the conformance suite on the available file systems and devices, and properties of files alone.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ImageFile } from '../sys/file.ts';
import { patience } from '../testing/patience.ts';
import { storeConformance } from '../testing/store-conformance.ts';
import { threadsFile } from './ring-file.ts';
import { newFlushState } from './sync-file.ts';

const ALL = ['write', 'readv', 'writev', 'flush', 'discard', 'writeZeroes', 'refreshSize', 'close'] as const;
const SIZE = 1024 * 1024 + 3 * 512;

function freshImage(folder: string, sizeBytes = SIZE): string {
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

// tmpfs has no FALLOC_FL_ZERO_RANGE, so the store writes zeroes there.
for (const parent of new Set([tmpdir(), '/dev/shm'])) {
  if (!existsSync(parent)) continue;
  const folder = mkdtempSync(join(parent, 'belfry-'));
  after(() => rmSync(folder, { recursive: true }));
  storeConformance(`file in ${parent}`, { open: () => threadsFile(ImageFile.open(freshImage(folder))), members: ALL });
}

const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
after(() => rmSync(folder, { recursive: true }));
const content = new Uint8Array(SIZE).map((_, i) => i ^ (i >> 9));

storeConformance('read-only file', {
  open: () => {
    writeFileSync(join(folder, 'disk.img'), content);
    return threadsFile(ImageFile.open(join(folder, 'disk.img'), { readOnly: true }));
  },
  members: ['readv', 'refreshSize', 'close'],
  content,
});

test('discarding gives the room of a file back, and so does zeroing if it may', (context) => {
  const path = freshImage(folder);
  const store = threadsFile(ImageFile.open(path));
  const blocksAfter = (act: () => unknown): number => {
    store.write?.(0, content);
    store.flush?.();
    act();
    store.flush?.();
    return statSync(path).blocks;
  };
  const full = blocksAfter(() => {});
  if (blocksAfter(() => store.discard?.(0, SIZE)) === full) context.skip(`the file system of ${folder} has no holes`);
  else {
    assert.ok(blocksAfter(() => store.writeZeroes?.(0, SIZE, true)) < full);
    assert.equal(
      blocksAfter(() => store.writeZeroes?.(0, SIZE, false)),
      full,
    );
  }
  store.close?.();
});

test('a file that becomes shorter fails the requests beyond its end, and those only', () => {
  const path = freshImage(folder);
  const store = threadsFile(ImageFile.open(path));
  truncateSync(path, 4096);
  const bytes = new Uint8Array(4096);
  store.read(0, bytes);
  assert.throws(() => store.read(512, bytes), { code: 'EIO', message: 'pread: EIO: the file became shorter' });
  assert.throws(() => store.readv?.(512, [bytes, bytes]), { code: 'EIO' });
  assert.equal(store.sizeBytes, SIZE);
  assert.equal(store.refreshSize?.(), 4096);
  assert.equal(store.sizeBytes, 4096);
  store.close?.();
});

test('after it was closed every request fails, also when the descriptor has a new owner', () => {
  const path = freshImage(folder);
  const store = threadsFile(ImageFile.open(path));
  store.close?.();
  using _next = ImageFile.open(path);
  const bytes = new Uint8Array(512);
  assert.throws(() => store.read(0, bytes), { code: 'EBADF' });
  assert.throws(() => store.write?.(0, bytes), { code: 'EBADF' });
  assert.throws(() => store.flush?.(), { code: 'EBADF' });
});

test('once a flush failed, no later flush succeeds', () => {
  const file = ImageFile.open(freshImage(folder));
  let isBroken = true;
  file.sync = () => {
    if (isBroken) throw new Error('the disk is gone');
  };
  const store = threadsFile(file);
  assert.throws(() => store.flush?.(), /the disk is gone/);
  isBroken = false;
  assert.throws(() => store.flush?.(), /the disk is gone/);
  store.close?.();
});

test('regression: once a flush failed on one thread, it fails on all: Linux reports it once for an open file', () => {
  const path = freshImage(folder);
  const first = ImageFile.open(path);
  const state = newFlushState();
  let failures = 1;
  const sync = (): void => {
    if (failures-- > 0) throw new Error('the disk is gone');
  };
  const second = ImageFile.duplicate(first.fd, path, false);
  const [one, two] = [first, second].map((file) => threadsFile(Object.assign(file, { sync }), state));
  assert.throws(() => one?.flush?.(), /the disk is gone/);
  assert.throws(() => two?.flush?.(), /^SystemError: fdatasync: EIO: a flush of .*disk\.img failed on another thread$/);
  one?.close?.();
  two?.close?.();
});

/** Attaches `path` to a loop device; returns its name, or why that is not possible here. */
function loopDevice(path: string, ...options: string[]): { device: string } | { skip: string } {
  if (process.getuid?.() !== 0) return { skip: 'a loop device needs root' };
  try {
    const device = execFileSync('losetup', ['--find', '--show', ...options, path], {
      timeout: patience(10_000),
      stdio: 'pipe',
    });
    return { device: device.toString().trim() };
  } catch {
    return { skip: 'no loop device can be made here' };
  }
}

for (const sectorBytes of [512, 4096]) {
  const backing = join(folder, `loop-${sectorBytes}.img`);
  writeFileSync(backing, '');
  truncateSync(backing, 2 * 1024 * 1024);
  const loop = loopDevice(backing, '--sector-size', String(sectorBytes));
  if ('skip' in loop) {
    test(`block device with sectors of ${sectorBytes} bytes`, { skip: loop.skip }, () => {});
    continue;
  }
  after(() => execFileSync('losetup', ['--detach', loop.device], { timeout: patience(10_000) }));
  storeConformance(`block device with sectors of ${sectorBytes} bytes`, {
    open: () => threadsFile(ImageFile.open(loop.device)),
    members: ALL,
  });
  test(`a block device with sectors of ${sectorBytes} bytes has that block size, and discards`, () => {
    using file = ImageFile.open(loop.device);
    assert.deepEqual([file.isBlockDevice, file.blockBytes, file.currentSize()], [true, sectorBytes, 2 * 1024 * 1024]);
    assert.ok(file.physicalBlockBytes >= sectorBytes);
    assert.equal(file.fileSystem().kind, 'other');
    file.writeFrom(0, new Uint8Array(1024 * 1024).fill(1));
    file.sync();
    const before = statSync(backing).blocks;
    file.discard(512, 1024 * 1024);
    assert.ok(statSync(backing).blocks < before);
  });
}
