// test/microvm/bed: what the microVMs of the tests boot: a stock Debian kernel and an initramfs for it.
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findDebianKernel } from '../../../guests/debian-kernel.ts';
import type { FetchOptions } from '../../../guests/fetch-options.ts';
import { guestPrograms } from '../../../guests/guest-programs.ts';
import { guestInitramfs } from '../../../guests/initramfs.ts';
import { guestScripts } from './guest-scripts.ts';

const DRIVERS = ['virtio_mmio', 'virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_net', 'ext4'];

/** Writes `vmlinuz` and an `initrd` with the scripts of `guestScripts` into `folder`. Throws `PeerMissingError`. */
export async function writeGuestFiles(folder: string, options: FetchOptions): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { image, modules } = await findDebianKernel(DRIVERS, options);
  await copyFile(image, join(folder, 'vmlinuz'));
  const scripts = guestScripts(modules.map(({ name }) => name));
  const files = [...(await guestPrograms(options)), ...scripts];
  await writeFile(join(folder, 'initrd'), guestInitramfs({ files, modules }));
}
