// Image formats: recognition, also of images that qemu-img makes where it is installed, and the error messages.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { patience } from '../testing/patience.ts';
import { type ImageFormatError, MAGIC_BYTES, recognizeFormat } from './image-format.ts';
import { openStore } from './open-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
after(() => rmSync(folder, { recursive: true }));

/** A file of `sizeBytes` that is zero but for `magic`, at an offset from its start or, below 0, from its end. */
function fileWith(magic: string, at = 0, sizeBytes = 4096): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  bytes.set(
    Array.from(magic, (letter) => letter.charCodeAt(0)),
    at < 0 ? sizeBytes + at : at,
  );
  return bytes;
}

function formatOf(bytes: Uint8Array): string | undefined {
  return recognizeFormat(bytes.slice(0, MAGIC_BYTES), bytes.slice(-MAGIC_BYTES))?.name;
}

test('a format is known by its first or last bytes, in a file of any size', () => {
  const formats: readonly [name: string, magic: string, at?: number][] = [
    ['qcow', 'QFI\xfb\0\0\0\x01'],
    ['qcow2', 'QFI\xfb\0\0\0\x02'],
    ['qcow2', 'QFI\xfb\0\0\0\x03'],
    ['qed', 'QED\0'],
    ['vmdk', 'KDMV'],
    ['vmdk', 'COWD'],
    ['vmdk', '# Disk DescriptorFile\n'],
    ['vpc (VHD)', 'conectix'],
    ['vpc (VHD)', 'conectix', -512],
    ['vpc (VHD)', 'conectix', -511],
    ['vhdx', 'vhdxfile'],
    ['vdi', '\x7f\x10\xda\xbe', 0x40],
    ['parallels', 'WithoutFreeSpace'],
    ['parallels', 'WithouFreSpacExt'],
    ['dmg', 'koly', -512],
    ['gzip', '\x1f\x8b\x08'],
    ['xz', '\xfd7zXZ\0'],
    ['zstd', '\x28\xb5\x2f\xfd'],
    ['lz4', '\x04\x22\x4d\x18'],
    ['bzip2', 'BZh91AY&SY'],
    ['ELF', '\x7fELF'],
  ];
  for (const [name, magic, at] of formats)
    for (const sizeBytes of [600, 1000, 4096, 196_616])
      assert.equal(formatOf(fileWith(magic, at, sizeBytes)), name, `${name} in ${sizeBytes} bytes`);
});

test('what may be a raw disk is not taken for anything else', () => {
  const raw: readonly Uint8Array[] = [
    new Uint8Array(0),
    new Uint8Array(1),
    new Uint8Array(4096),
    new Uint8Array(4096).fill(0xff),
    fileWith('\xeb\x63\x90'), // GRUB's boot sector
    fileWith('\x55\xaa', 510), // a partition table
    fileWith('LUKS\xba\xbe'),
    fileWith('\x53\xef', 0x438 - 512), // ext4's magic lies behind the first sector
    fileWith('hsqs'), // squashfs
    fileWith('QFI'),
    fileWith('conectix', 512),
    fileWith('conectix', -1024),
    fileWith('\x7fELF', 512),
    fileWith('QFI\xfb', -512),
    fileWith('\x1f\x8b\x00'),
    fileWith('BZh9'),
  ];
  for (const [i, bytes] of raw.entries()) assert.equal(formatOf(bytes), undefined, `case ${i}`);
});

/** The error message of openStore for a file, which it does not change. */
function refusal(path: string, readOnly: boolean): ImageFormatError {
  const before = readFileSync(path);
  try {
    openStore(path, { readOnly }).store.close?.();
  } catch (error) {
    assert.deepEqual(readFileSync(path), before);
    return error as ImageFormatError;
  }
  return assert.fail(`${path} was opened`);
}

const images: readonly [format: string, name: string, options?: readonly string[]][] = [
  ['qcow', 'qcow'],
  ['qcow2', 'qcow2'],
  ['qcow2', 'qcow2', ['-o', 'compat=0.10']],
  ['qed', 'qed'],
  ['vmdk', 'vmdk'],
  ['vmdk', 'vmdk', ['-o', 'subformat=streamOptimized']],
  ['vmdk', 'vmdk', ['-o', 'subformat=monolithicFlat']],
  ['vpc', 'vpc (VHD)'],
  ['vpc', 'vpc (VHD)', ['-o', 'subformat=fixed']],
  ['vhdx', 'vhdx'],
  ['vdi', 'vdi'],
  ['parallels', 'parallels'],
];

for (const [format, name, options = []] of images) {
  test(`regression: what qemu-img makes as ${[format, ...options].join(' ')} is not served as raw bytes`, (context) => {
    const path = join(folder, `disk.${format}`);
    const made = spawnSync('qemu-img', ['create', '-q', '-f', format, ...options, path, '2M'], { encoding: 'utf8' });
    if (made.error !== undefined) return context.skip('qemu-img (qemu-utils) is not installed');
    assert.equal(made.status, 0, made.stderr);
    for (const readOnly of [false, true]) {
      const error = refusal(path, readOnly);
      assert.deepEqual([error.name, error.code, error.format], ['ImageFormatError', 'BELFRY_IMAGE_FORMAT', name]);
      assert.equal(
        error.message,
        `${path} is a ${name} image: "qemu-img convert -O raw ${path} disk.raw" makes it a raw one, ` +
          'qemu-storage-daemon or qemu-nbd serves it as it is; --format raw serves its bytes as they are',
      );
    }
    rmSync(path);
  });
}

test('the command that is advised makes a raw disk', (context) => {
  const path = join(folder, 'advised.qcow2');
  if (spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, '2M']).status !== 0)
    return context.skip('qemu-img (qemu-utils) is not installed');
  const command = /"(qemu-img [^"]+)"/.exec(refusal(path, false).message)?.[1] as string;
  const { status, stderr } = spawnSync('sh', ['-c', command], {
    cwd: folder,
    encoding: 'utf8',
    timeout: patience(30_000),
  });
  assert.equal(status, 0, stderr);
  const { store } = openStore(join(folder, 'advised.raw'));
  assert.equal(store.sizeBytes, 2 * 1024 * 1024);
  store.close?.();
});

test('regression: compressed bytes and programs get no advice that changes their size', () => {
  const disk = new Uint8Array(1024 * 1024);
  for (const [name, bytes, advice] of [
    [
      'disk.img.gz',
      gzipSync(disk),
      /is compressed \(gzip\): "gunzip < .*disk\.img\.gz > disk\.img" unpacks it; --format raw/,
    ],
    ['disk.zst', zstdCompressSync(disk), /is compressed \(zstd\): "zstd -d < .*disk\.zst > disk\.raw" unpacks it; /],
    ['packed.img', fileWith('BZh91AY&SY', 0, 700), /"bunzip2 < .*packed\.img > packed\.raw" unpacks it; /],
    ['disk.raw', fileWith('\xfd7zXZ\0', 0, 700), /"unxz < .*disk\.raw > disk\.raw\.raw" unpacks it; /],
    ['program', fileWith('\x7fELF', 0, 1001), /program is a program \(ELF\), not a disk: name an image; /],
  ] as const) {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    const { message } = refusal(path, true);
    assert.match(message, advice);
    assert.doesNotMatch(message, /truncate|\n/);
  }
});

test('with format raw any file is served as it is, if its size is that of a disk', () => {
  const path = join(folder, 'chosen.qcow2');
  writeFileSync(path, fileWith('QFI\xfb\0\0\0\x03', 0, 1024));
  const { store } = openStore(path, { format: 'raw' });
  const bytes = new Uint8Array(512);
  store.read(0, bytes);
  assert.equal(String.fromCharCode(...bytes.subarray(0, 3)), 'QFI');
  store.close?.();
  truncateSync(path, 1000);
  assert.throws(() => openStore(path, { format: 'raw' }), {
    code: 'EINVAL',
    message: /1000 bytes, not a multiple of 512/,
  });
  assert.equal(statSync(path).size, 1000);
});
