// test/power-cut: a real Linux that runs a script on disks of this process, and its file system programs.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CpioEntry } from '../../guests/cpio.ts';
import type { FetchOptions } from '../../guests/fetch-options.ts';
import { findGuestPeer } from '../../guests/find-guest-peer.ts';
import type { GuestPeer } from '../../guests/guest-peer.ts';
import { runGuestProcess } from '../../guests/guest-process.ts';
import { programsWithLibraries, staticBusybox } from '../../guests/guest-programs.ts';
import { guestInitramfs, scriptEntry } from '../../guests/initramfs.ts';
import { serve, type VirtioDevice } from '../../src/index.ts';
import { patience } from '../../src/testing/patience.ts';
import type { FileSystem } from './file-system.ts';

const MEMORY_MIB = 192;
const SILENCE_MS = 60_000;
const TAIL_LINES = 30;

/** What a guest boots from. */
export interface GuestKit {
  readonly peer: GuestPeer;
  readonly files: readonly CpioEntry[];
}

export interface GuestSession {
  /** The devices of its disks: vda, vdb, … */
  readonly disks: readonly VirtioDevice[];
  /** Runs in the guest's shell; then the guest ends. It prints a line at least each minute. */
  readonly script: string;
  readonly signal?: AbortSignal;
}

/** Finds a peer and what makes the file system. Throws `PeerMissingError`. */
export async function guestKit(fileSystem: FileSystem, options: FetchOptions): Promise<GuestKit> {
  const peer = await findGuestPeer(options);
  return { peer, files: [await staticBusybox(options), ...(await programsWithLibraries([fileSystem.maker], options))] };
}

/**
 * Boots the guest and returns the last lines of its console when it has ended. Leaves no process and no file.
 * Throws an Error when it prints nothing for that long, and the signal's reason when aborted.
 */
export async function runGuestSession(kit: GuestKit, session: GuestSession): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'belfry-power-cut-'));
  const log: string[] = [];
  const servers = session.disks.map((device, i) =>
    serve(device, { vhostUser: join(folder, `disk${i}.sock`), log: (line) => log.push(line) }),
  );
  try {
    return await boot(kit, session, folder, log);
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await rm(folder, { recursive: true, force: true });
  }
}

async function boot(
  { peer, files }: GuestKit,
  { disks, script, signal }: GuestSession,
  folder: string,
  log: readonly string[],
): Promise<readonly string[]> {
  const initramfs = join(folder, 'initramfs');
  const init = scriptEntry('init', initScript(peer, script, disks.length));
  await writeFile(initramfs, guestInitramfs({ files: [...files, init], modules: peer.modules }));
  const sockets = disks.map((_, i) => join(folder, `disk${i}.sock`));
  const command = peer.command({ sockets, queues: 1, memoryMiB: MEMORY_MIB, initramfs, folder });
  const tail: string[] = [];
  const onLine = (line: string): void => {
    tail.push(line.trimEnd());
    if (tail.length > TAIL_LINES) tail.shift();
  };
  const silenceMs = patience(SILENCE_MS);
  const exit = await runGuestProcess(command, { silenceMs, onLine, ...(signal && { signal }) });
  if (exit.kind === 'silent') throw new Error(['the guest printed nothing', ...log, ...tail].join('\n'));
  return [...log, ...tail];
}

function initScript({ modules }: GuestPeer, script: string, disks: number): string {
  return [
    '#!/bin/busybox sh',
    '/bin/busybox mount -t proc proc /proc',
    'mount -t sysfs sysfs /sys',
    'mount -t devtmpfs devtmpfs /dev',
    'mount -t tmpfs tmpfs /tmp',
    'export PATH=/sbin:/bin LC_ALL=C',
    ...modules.map(({ name }) => `insmod /modules/${name}.ko`),
    `until [ $(ls /dev | grep -c '^vd') = ${disks} ]; do sleep 0.05; done`,
    script,
    'poweroff -f',
    '',
  ].join('\n');
}
