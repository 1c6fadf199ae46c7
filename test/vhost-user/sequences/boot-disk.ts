// test/vhost-user/sequences: a disk that SeaBIOS boots: GRUB, and a partition with a kernel and an initramfs.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unpackedPackage } from '../../../guests/debian-packages.ts';
import { KERNEL_WORDS } from './vmm.ts';

const SECTOR_BYTES = 512;
const FIRST_SECTOR = 2048;
const PARTITION_BYTES = 48 << 20;
const GRUB_MODULES = ['biosdisk', 'part_msdos', 'ext2', 'linux', 'serial', 'terminal', 'echo', 'boot'];
const TABLE_ENTRY = 446;

const GRUB_SCRIPT = `serial --unit=0 --speed=115200
terminal_output serial
echo "BELFRY grub"
linux (hd0,msdos1)/vmlinuz ${KERNEL_WORDS} console=ttyS0
initrd (hd0,msdos1)/initramfs
boot
`;

/** Gives the image's path; the folder it is in is removed when this process ends. */
export async function bootDisk(kernelImage: string, initramfs: Uint8Array): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'boot-disk-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const image = join(folder, 'disk.img');
  const core = await grubCore(folder);
  const partition = fileSystem(folder, kernelImage, initramfs);
  const head = new Uint8Array(FIRST_SECTOR * SECTOR_BYTES);
  head.set(core.boot);
  head.set(tableEntry(), TABLE_ENTRY);
  head.set([0x55, 0xaa], SECTOR_BYTES - 2);
  head.set(core.image, SECTOR_BYTES);
  writeFileSync(image, head);
  writeFileSync(image, readFileSync(partition), { flag: 'a' });
  return image;
}

/** The boot sector, and what it loads from the sectors behind it. */
async function grubCore(folder: string): Promise<{ boot: Uint8Array; image: Uint8Array }> {
  const modules = join(await unpackedPackage('grub-pc-bin', () => false, {}), 'usr/lib/grub/i386-pc');
  const tools = await unpackedPackage('grub-common', (name) => /^lib(devmapper|efivar|efiboot|lzma)/.test(name), {});
  const [script, image] = [join(folder, 'early.cfg'), join(folder, 'core.img')];
  writeFileSync(script, GRUB_SCRIPT);
  const words = ['-O', 'i386-pc', '-d', modules, '-c', script, '-p', '/', '-o', image, ...GRUB_MODULES];
  const environment = { ...process.env, LD_LIBRARY_PATH: join(tools, 'lib/x86_64-linux-gnu') };
  execFileSync(join(tools, 'usr/bin/grub-mkimage'), words, { env: environment });
  return { boot: readFileSync(join(modules, 'boot.img')).subarray(0, TABLE_ENTRY), image: readFileSync(image) };
}

/** An ext2 with the two files in it. */
function fileSystem(folder: string, kernelImage: string, initramfs: Uint8Array): string {
  const [root, partition] = [join(folder, 'root'), join(folder, 'partition.img')];
  mkdirSync(root);
  copyFileSync(kernelImage, join(root, 'vmlinuz'));
  writeFileSync(join(root, 'initramfs'), initramfs);
  writeFileSync(partition, '');
  truncateSync(partition, PARTITION_BYTES);
  execFileSync('mke2fs', ['-q', '-t', 'ext2', '-d', root, partition]);
  return partition;
}

/** DOS partition table: bootable, Linux, by LBA alone. */
function tableEntry(): Uint8Array {
  const entry = new Uint8Array(16);
  const view = new DataView(entry.buffer);
  entry[0] = 0x80;
  entry[4] = 0x83;
  view.setUint32(8, FIRST_SECTOR, true);
  view.setUint32(12, PARTITION_BYTES / SECTOR_BYTES, true);
  return entry;
}
