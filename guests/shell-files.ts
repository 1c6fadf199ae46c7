// guests: a kernel and an initramfs with a shell, kept in the cache for starting a VMM by hand.
import { statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { GuestPeer } from './guest-peer.ts';

export interface ShellFiles {
  /** A link to linux.uml, or to the bzImage that QEMU boots. */
  readonly kernel: string;
  /** Starts a shell on its console, with the first disk as /dev/vda; with `disks=0` on the command line, without. */
  readonly initramfs: string;
}

/** The folder of everything that is downloaded or made for guests: `${XDG_CACHE_HOME:-~/.cache}/belfry/guests`. */
export function guestCacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'belfry', 'guests');
}

/** The files for a peer; undefined where `prepareShellFiles` has not made them since its kernel was installed. */
export function shellFiles(peer: GuestPeer['name'], cacheFolder = guestCacheFolder()): ShellFiles | undefined {
  const files = shellFilesIn(shellFolder(peer, cacheFolder));
  const [kernel, initramfs] = [files.kernel, files.initramfs].map((path) => statSync(path, { throwIfNoEntry: false }));
  // The mtime of a file is from its package; the ctime says when it was installed here.
  const isFresh = kernel !== undefined && initramfs !== undefined && kernel.ctimeMs <= initramfs.ctimeMs;
  return isFresh ? files : undefined;
}

export function shellFolder(peer: GuestPeer['name'], cacheFolder: string): string {
  return join(cacheFolder, 'shell', peer);
}

export function shellFilesIn(folder: string): ShellFiles {
  // The number is increased when the content changes, so that an older file is made again.
  return { kernel: join(folder, 'kernel'), initramfs: join(folder, 'initramfs-3') };
}
