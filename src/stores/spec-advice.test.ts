// The error messages for the name of a disk that cannot be opened.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openStore } from './open-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
after(() => rmSync(folder, { recursive: true }));

/** Asserts that `spec` is refused with one line that matches `advice` after the name. */
function refused(spec: string, advice: RegExp): void {
  assert.throws(() => openStore(spec), { name: 'SystemError', code: 'ENOENT', message: advice });
}

test('regression: a URL is not taken for the name of a file', () => {
  for (const [spec, advice] of [
    ['nbd://localhost/x', /^nbd:\/\/ cannot be opened: .*: nbd-client or qemu-nbd makes a block device of it$/],
    ['nbd+unix:///x?socket=/tmp/s', /^nbd\+unix:\/\/ .*: nbd-client or qemu-nbd/],
    ['https://example.org/disk.img', /^https:\/\/ .*: examples\/http-range-disk\.ts is a module that reads it$/],
    ['HTTP://example.org/disk.img', /^http:\/\/ /],
    ['file:///tmp/disk.img', /^file:\/\/ .*: write the path alone$/],
    ['s3://bucket/disk', /^s3:\/\/ cannot be opened: a store is mem:SIZE, .*: write a module that opens it$/],
  ] as const)
    assert.throws(() => openStore(spec), { name: 'RangeError', message: advice });
});

test('a path with :// that has no scheme before it is a path', () => {
  refused(join(folder, 'a', 'x://y'), /does not exist/);
});

test('regression: a module is found under its whole name', () => {
  for (const extension of ['.ts', '.js', '.mjs']) {
    const path = join(folder, `my-disk${extension === '.ts' ? '' : extension.slice(1)}`);
    writeFileSync(`${path}${extension}`, '');
    refused(path, new RegExp(`my-disk.* does not exist, but .*my-disk.*\\${extension} does: write the whole name$`));
  }
});

test('truncate is advised for a name that may become an image, and for no other', () => {
  for (const name of ['disk.img', 'disk', 'debian-12.7.raw', 'Disk_1.IMG'])
    refused(
      join(folder, name),
      new RegExp(`${name} does not exist: "truncate -s 1G .*${name}" makes an empty disk of 1 GiB$`),
    );
  for (const name of ['disk.qcow2', 'disk.img.gz', 'disk.iso', 'disk.img:ro'])
    refused(join(folder, name), new RegExp(`${name} does not exist$`));
  refused(join(folder, 'none', 'disk.img'), /disk\.img does not exist, nor does the folder .*none$/);
});

test('regression: :ro behind the name of an image is not a part of it', () => {
  writeFileSync(join(folder, 'here.img'), '');
  refused(join(folder, 'here.img:ro'), /here\.img:ro does not exist, but .*here\.img does: open that read-only$/);
});

test('regression: a disk in memory needs a size', () => {
  assert.throws(() => openStore('mem:'), { name: 'RangeError', message: 'a disk in memory has a size: mem:1G' });
  assert.throws(() => openStore('mem:1GB'), { name: 'RangeError', message: /write 1GiB for 1073741824/ });
});
