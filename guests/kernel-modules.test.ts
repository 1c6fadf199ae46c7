// guests: the load order of modules, over a made-up module tree.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { kernelModules } from './kernel-modules.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-modules-'));
after(() => rmSync(folder, { recursive: true }));

function modinfo(depends: string, softdep = ''): Uint8Array {
  return new TextEncoder().encode(`\x7fELF...\0license=GPL\0depends=${depends}\0${softdep}intree=Y\0`);
}

function add(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), bytes);
}

add('kernel/drivers/virtio/virtio_ring.ko', modinfo(''));
add('kernel/drivers/virtio/virtio.ko', modinfo('virtio_ring'));
add('kernel/drivers/block/virtio_blk.ko.zst', zstdCompressSync(modinfo('virtio,virtio_ring')));
add('kernel/fs/ext4/ext4.ko.gz', gzipSync(modinfo('mb-cache', 'softdep=pre: crypto-crc32c\0')));
add('kernel/fs/mb-cache.ko', modinfo(''));
add('kernel/crypto/crc32c_generic.ko', modinfo(''));
add('kernel/drivers/broken.ko', modinfo('nowhere'));
add('modules.builtin', new TextEncoder().encode('kernel/drivers/tty/serial-core.ko\n'));

test('a module comes after everything it depends on, and nothing comes twice', () => {
  const names = kernelModules(folder, ['virtio_blk', 'virtio']).map((module) => module.name);
  assert.deepEqual(names, ['virtio_ring', 'virtio', 'virtio_blk']);
});

test('compressed modules are handed out uncompressed', () => {
  const module = kernelModules(folder, ['virtio_blk']).at(-1);
  assert.deepEqual(new Uint8Array(module!.bytes), modinfo('virtio,virtio_ring'));
});

test('a wished-for algorithm is loaded first, and dash and underscore are one', () => {
  const names = kernelModules(folder, ['ext4']).map((module) => module.name);
  assert.deepEqual(names, ['mb_cache', 'crc32c_generic', 'ext4']);
});

test('what is built into the kernel needs no loading', () => {
  assert.deepEqual(kernelModules(folder, ['serial_core']), []);
});

test('a module that is nowhere is named', () => {
  assert.throws(() => kernelModules(folder, ['broken']), /no module nowhere/);
});
