// bench: scratch images are filled and removed; an image of the user's is only read, unless it may be overwritten.
import assert from 'node:assert/strict';
import {
  existsSync,
  globSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openStore } from '../src/index.ts';
import { StoreDisk } from './store-disk.ts';

const SIZE = 5 << 20;
const needs = { images: 1, mustBeCached: false };

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-store-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** An image of the user's, and its content. */
function imageFor(t: TestContext): { path: string; before: Buffer } {
  const path = join(folderFor(t), 'disk.img');
  const before = Buffer.alloc(SIZE, 'precious');
  writeFileSync(path, before);
  return { path, before };
}

const sockets = (): string[] => globSync(`/dev/shm/belfry-bench-${process.pid}-*`);

test('scratch images have every block written, and nothing is left of them', async (t) => {
  const path = folderFor(t);
  const disk = await StoreDisk.create({ kind: 'folder', path, sizeBytes: SIZE }, { images: 2, mustBeCached: true });
  assert.equal(disk.paths.length, 2);
  for (const image of disk.paths) {
    assert.equal(dirname(dirname(image)), path);
    const { size, blocks, mode } = statSync(image);
    assert.deepEqual([size, blocks * 512 >= SIZE, mode & 0o777], [SIZE, true, 0o600]);
    assert.ok(
      !readFileSync(image)
        .subarray(-4096)
        .every((byte) => byte === 0),
    );
  }
  assert.deepEqual([disk.sizeBytes, disk.readOnly, existsSync(disk.folder)], [SIZE, false, true]);
  assert.match(disk.notes.join(), /engine (?:mapped|uring|sync)/);
  disk[Symbol.dispose]();
  assert.deepEqual([readdirSync(path), sockets()], [[], []]);
});

test('nothing is left of a scratch image whose making was interrupted', async (t) => {
  const path = folderFor(t);
  const stop = AbortSignal.abort(new Error('enough'));
  await assert.rejects(StoreDisk.create({ kind: 'folder', path, sizeBytes: SIZE }, needs, stop), /enough/);
  assert.deepEqual([readdirSync(path), sockets()], [[], []]);
});

test('a folder without room is refused with advice', async (t) => {
  const path = folderFor(t);
  await assert.rejects(StoreDisk.create({ kind: 'folder', path, sizeBytes: 2 ** 60 }, needs), /use a smaller --size/);
  assert.deepEqual([readdirSync(path), sockets()], [[], []]);
});

test('an image is only read, and stays', async (t) => {
  const { path, before } = imageFor(t);
  {
    using disk = await StoreDisk.create({ kind: 'image', path, overwrite: false }, needs);
    assert.deepEqual([disk.paths, disk.sizeBytes, disk.readOnly], [[path], SIZE, true]);
    assert.doesNotMatch(disk.notes.join(), /holes/);
  }
  assert.deepEqual(readFileSync(path), before);
  truncateSync(path, 2 * SIZE);
  using disk = await StoreDisk.create({ kind: 'image', path, overwrite: false }, needs);
  assert.match(disk.notes.join(), /has holes/);
});

test('an image that may be overwritten is filled, keeps its size and stays', async (t) => {
  const { path } = imageFor(t);
  truncateSync(path, 2 * SIZE);
  {
    using disk = await StoreDisk.create({ kind: 'image', path, overwrite: true }, needs);
    assert.deepEqual([disk.sizeBytes, disk.readOnly], [2 * SIZE, false]);
  }
  const { size, blocks } = statSync(path);
  assert.deepEqual([size, blocks * 512 >= size], [2 * SIZE, true]);
  assert.ok(!readFileSync(path).includes('precious'));
});

test('an image that is in use is refused before anything is written to it', async (t) => {
  const { path, before } = imageFor(t);
  const { store } = openStore(path, { engine: 'sync' });
  t.after(() => store.close?.());
  await assert.rejects(StoreDisk.create({ kind: 'image', path, overwrite: true }, needs), /in use/);
  assert.deepEqual([readFileSync(path).equals(before), sockets()], [true, []]);
});
