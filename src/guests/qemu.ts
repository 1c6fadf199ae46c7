// guests: QEMU without hardware virtualization (TCG), booting a stock Debian kernel on vhost-user-blk-pci.
import { constants } from 'node:fs';
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FetchOptions } from './debian-packages.ts';
import { unpackedPackage } from './debian-packages.ts';
import type { GuestBoot, GuestCommand, GuestPeer } from './guest-peer.ts';
import { PeerMissingError } from './guest-peer.ts';
import { findExecutable } from './guest-programs.ts';
import type { KernelModule } from './kernel-modules.ts';
import { kernelModules } from './kernel-modules.ts';

const KERNEL_PACKAGE = 'linux-image-cloud-amd64';
const WANTED_MODULES = ['virtio_pci', 'virtio_blk', 'ext4'];
const MAX_QUEUES = 16;

/**
 * The installed QEMU with a kernel from /boot where one can be read, else from the cache, else downloaded with apt-get.
 * Throws `PeerMissingError`, whose message says what to install.
 */
export async function findQemu(options: FetchOptions = {}): Promise<GuestPeer> {
  if (process.arch !== 'x64') throw new PeerMissingError(`the QEMU guest is for x86-64 hosts, this is ${process.arch}`);
  const program = await findExecutable('qemu-system-x86_64');
  if (program === undefined) throw new PeerMissingError('QEMU is not installed: apt-get install qemu-system-x86');
  const kernel = (await kernelUnder('/')) ?? (await kernelUnder(await unpackedKernel(options)));
  if (kernel === undefined) throw new PeerMissingError(`no kernel for QEMU: apt-get install ${KERNEL_PACKAGE}`);
  return {
    name: 'qemu',
    description: `QEMU with Linux ${kernel.version} (${program}, TCG)`,
    maxQueues: MAX_QUEUES,
    modules: kernel.modules,
    command: (boot) => qemuCommand(program, kernel.image, boot),
  };
}

// The package is empty but for its dependency, the versioned kernel.
function unpackedKernel(options: FetchOptions): Promise<string> {
  return unpackedPackage(KERNEL_PACKAGE, (name) => name.startsWith('linux-image-'), options);
}

interface Kernel {
  readonly version: string;
  readonly image: string;
  readonly modules: readonly KernelModule[];
}

async function kernelUnder(root: string): Promise<Kernel | undefined> {
  const names = await readdir(join(root, 'boot')).catch(() => []);
  const versions = names.filter((name) => name.startsWith('vmlinuz-')).map((name) => name.slice('vmlinuz-'.length));
  versions.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  for (const version of versions) {
    const image = join(root, 'boot', `vmlinuz-${version}`);
    try {
      await access(image, constants.R_OK);
      return { version, image, modules: kernelModules(join(root, 'lib/modules', version), WANTED_MODULES) };
    } catch {
      // Not readable, or a kernel without these drivers: the next one may do.
    }
  }
  return undefined;
}

function qemuCommand(program: string, kernelImage: string, boot: GuestBoot): GuestCommand {
  const disks = boot.sockets.flatMap((socket, index) => [
    ...['-chardev', `socket,id=socket${index},path=${socket.replaceAll(',', ',,')}`],
    ...['-device', `vhost-user-blk-pci,chardev=socket${index},num-queues=${boot.queues}`],
  ]);
  return {
    file: program,
    words: [
      ...['-accel', 'tcg', '-machine', 'pc', '-cpu', 'max', '-smp', `${boot.queues}`],
      // The back end maps guest memory, so it has to be a shared memfd.
      ...['-m', `${boot.memoryMiB}`, '-object', `memory-backend-memfd,id=memory,size=${boot.memoryMiB}M,share=on`],
      ...['-numa', 'node,memdev=memory'],
      ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
      ...['-kernel', kernelImage, '-initrd', boot.initramfs, '-append', 'console=ttyS0 quiet panic=-1'],
      ...disks,
    ],
  };
}
