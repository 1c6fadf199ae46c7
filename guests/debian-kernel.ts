// guests: a stock Debian kernel with the modules a guest needs, from /boot, from the cache, or downloaded.
import { constants } from 'node:fs';
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { unpackedPackage } from './debian-packages.ts';
import type { FetchOptions } from './fetch-options.ts';
import { PeerMissingError } from './guest-peer.ts';
import type { KernelModule } from './kernel-modules.ts';
import { kernelModules } from './kernel-modules.ts';

const KERNEL_PACKAGE = 'linux-image-cloud-amd64';

export interface DebianKernel {
  /** As `uname -r` says it. */
  readonly version: string;
  /** Path of the bzImage. */
  readonly image: string;
  /** /lib/modules/VERSION, wherever the kernel was unpacked. */
  readonly modulesFolder: string;
  /** The modules asked for and what they depend on, in load order. */
  readonly modules: readonly KernelModule[];
}

/**
 * The newest kernel of /boot that can be read and has the modules `wanted`, else the cloud kernel from the cache, else
 * downloaded with apt-get. Throws `PeerMissingError`, whose message says what to install.
 */
export async function findDebianKernel(wanted: readonly string[], options: FetchOptions): Promise<DebianKernel> {
  const kernel = (await kernelUnder('/', wanted)) ?? (await kernelUnder(await unpackedKernel(options), wanted));
  if (kernel === undefined) throw new PeerMissingError(`no kernel for a guest: apt-get install ${KERNEL_PACKAGE}`);
  return kernel;
}

// The package is empty but for its dependency, the versioned kernel.
function unpackedKernel(options: FetchOptions): Promise<string> {
  return unpackedPackage(KERNEL_PACKAGE, (name) => name.startsWith('linux-image-'), options);
}

async function kernelUnder(root: string, wanted: readonly string[]): Promise<DebianKernel | undefined> {
  const names = await readdir(join(root, 'boot')).catch(() => []);
  const versions = names.filter((name) => name.startsWith('vmlinuz-')).map((name) => name.slice('vmlinuz-'.length));
  versions.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  for (const version of versions) {
    const image = join(root, 'boot', `vmlinuz-${version}`);
    const modulesFolder = join(root, 'lib/modules', version);
    try {
      await access(image, constants.R_OK);
      return { version, image, modulesFolder, modules: kernelModules(modulesFolder, wanted) };
    } catch {
      // Not readable, or a kernel without these drivers: the next one may do.
    }
  }
  return undefined;
}
