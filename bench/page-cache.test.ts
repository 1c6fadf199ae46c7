// bench: the state of the page cache before a round.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkFitsInMemory, settle } from './page-cache.ts';

const SIZE = 6 << 20;
const TMPFS_MAGIC = 0x01021994;
const isOnDisk = statfsSync(tmpdir()).type !== TMPFS_MAGIC;
const hasFincore = spawnSync('fincore', ['--version'], { stdio: 'ignore' }).status === 0;
const skip = isOnDisk && hasFincore ? false : `it takes a temporary folder on a disk, and fincore(1)`;

function cachedBytes(path: string): number {
  const { stdout } = spawnSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', path], { encoding: 'utf8' });
  return Number(stdout);
}

test('cached: all of the image is in the page cache; direct: nothing of it', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-cache-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  // Dirty: what is not written back cannot be dropped.
  writeFileSync(path, Buffer.alloc(SIZE, 7));
  await settle(path, 'direct');
  assert.equal(cachedBytes(path), 0);
  await settle(path, 'cached');
  assert.equal(cachedBytes(path), SIZE);
});

test('an image that is larger than the memory cannot be cached, and the message says what to do', () => {
  checkFitsInMemory(1 << 20);
  assert.throws(() => checkFitsInMemory(2 ** 50), { name: 'RangeError', message: /1024T.*--size.*--cells direct/ });
});

test('a reading that is interrupted ends with the reason', async () => {
  await assert.rejects(settle(import.meta.filename, 'cached', AbortSignal.abort(new Error('enough'))), /enough/);
});
