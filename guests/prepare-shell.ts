// guests: makes the files of shell-files.ts, which start a VMM by hand.
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { FetchOptions } from './fetch-options.ts';
import type { GuestPeer } from './guest-peer.ts';
import { shellInitramfs } from './run-shell.ts';
import { guestCacheFolder, type ShellFiles, shellFiles, shellFilesIn, shellFolder } from './shell-files.ts';

/** Makes the files, replacing existing ones. Throws `PeerMissingError` when a program for the guest is missing. */
export async function prepareShellFiles(peer: GuestPeer, options: FetchOptions): Promise<ShellFiles> {
  const folder = shellFolder(peer.name, options.cacheFolder ?? guestCacheFolder());
  await mkdir(dirname(folder), { recursive: true });
  const making = await mkdtemp(`${folder}-`);
  try {
    const files = shellFilesIn(making);
    await symlink(peer.kernel, files.kernel);
    await writeFile(files.initramfs, await shellInitramfs(peer, { ...options, withFio: false }));
    await rm(folder, { recursive: true, force: true });
    // Two processes may make them at once: either result can be used.
    await rename(making, folder).catch((error: Error) => {
      if (shellFiles(peer.name, options.cacheFolder) === undefined) throw error;
    });
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return shellFilesIn(folder);
}
