// An image that is closed while another process has it, and opened again.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { openStore } from '../stores/open-store.ts';
import { ReopenableImage } from './reopenable-image.ts';

function makeFile(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-reopenable-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, new Uint8Array(8192).fill(7));
  return path;
}

test('the lock of the image is held while it is open, and free while it is released', async (t) => {
  const path = makeFile(t);
  const image = ReopenableImage.ofFile(path);
  assert.throws(() => openStore(path), /in use/);
  await image.release();
  const other = openStore(path);
  assert.throws(() => image.reopen(), /in use/);
  assert.throws(() => image.store.read(0, new Uint8Array(512)), /is closed/);
  await other.store.write?.(512, new Uint8Array(512).fill(9));
  await other.store.close?.();
  assert.equal(image.reopen(), 8192);
  assert.throws(() => openStore(path), /in use/);
  const into = new Uint8Array(1024);
  await image.store.read(0, into);
  assert.deepEqual([into[0], into[1023]], [7, 9]);
  await image.close();
});

test('reopen returns the size of an image that grew meanwhile', async (t) => {
  const path = makeFile(t);
  const image = ReopenableImage.ofFile(path);
  await image.release();
  truncateSync(path, 16384);
  assert.equal(image.reopen(), 16384);
  await image.close();
});

test('an image whose flush fails is not released, so that the error is reported', async () => {
  const closed: string[] = [];
  const failing: BlockStore = {
    sizeBytes: 512,
    read() {},
    flush() {
      throw new Error('EIO');
    },
    close: () => void closed.push('closed'),
  };
  const image = new ReopenableImage(() => failing);
  await assert.rejects(image.release(), /EIO/);
  assert.deepEqual(closed, []);
  image.store.read(0, new Uint8Array(512));
});

test('the store has only the members that the image has', () => {
  const image = new ReopenableImage(() => ({ sizeBytes: 512, read() {} }));
  assert.deepEqual(Object.keys(image.store).sort(), ['name', 'read', 'sizeBytes']);
});

test('regression: an image is opened again whatever its guest wrote to its first bytes', async (t) => {
  const path = makeFile(t);
  const image = ReopenableImage.ofFile(path);
  await image.store.write?.(0, Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3, ...new Uint8Array(504)));
  await image.release();
  assert.throws(() => openStore(path), /qcow2/);
  assert.equal(image.reopen(), 8192);
  await image.close();
});
