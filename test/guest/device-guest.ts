// test/guest: a Linux with a device that the test chooses, which runs a script of the test.
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { CpioEntry } from '../../guests/cpio.ts';
import type { GuestPeer } from '../../guests/guest-peer.ts';
import { runGuestProcess } from '../../guests/guest-process.ts';
import { staticBusybox } from '../../guests/guest-programs.ts';
import { guestInitramfs, scriptEntry } from '../../guests/initramfs.ts';
import { silenceMs } from './guest-case.ts';

const MEMORY_MIB = 128;

export interface DeviceGuest {
  /** Where it has its files. */
  readonly folder: string;
  /** What the VMM is told besides: the device. */
  readonly words: readonly string[];
  /** Runs in the guest's shell, with every driver loaded; then the guest ends. */
  readonly script: string;
  /** Default: 1. */
  readonly cpus?: number;
  /** Programs that it has besides busybox. */
  readonly files?: readonly CpioEntry[];
  /** Gets each line that it prints. */
  readonly onLine?: (line: string) => unknown;
}

/** Boots it, and returns what the script printed, when it has ended. */
export async function runDeviceGuest(t: TestContext, peer: GuestPeer, guest: DeviceGuest): Promise<string> {
  const { folder, words, script, cpus = 1 } = guest;
  const initramfs = join(folder, 'initramfs');
  const files = [await staticBusybox({}), ...(guest.files ?? []), scriptEntry('init', initScript(peer, script))];
  await writeFile(initramfs, guestInitramfs({ files, modules: peer.modules }));
  const command = peer.command({ sockets: [], queues: cpus, memoryMiB: MEMORY_MIB, initramfs, folder });
  const lines: string[] = [];
  const onLine = (line: string): void => {
    lines.push(line.trimEnd());
    guest.onLine?.(line.trimEnd());
  };
  const exit = await runGuestProcess(
    { ...command, words: [...command.words, ...words] },
    { silenceMs, onLine, signal: t.signal },
  );
  const said = lines.join('\n');
  assert.equal(exit.kind, 'exited', said);
  const peersFile = process.env.BELFRY_PEERS_FILE;
  if (peersFile) appendFileSync(peersFile, `${peer.name}\n`);
  return said;
}

function initScript({ modules }: GuestPeer, script: string): string {
  return [
    '#!/bin/busybox sh',
    '/bin/busybox mount -t proc proc /proc',
    'mount -t sysfs sysfs /sys',
    'mount -t devtmpfs devtmpfs /dev',
    'mount -t tmpfs tmpfs /tmp',
    'export PATH=/sbin:/bin',
    ...modules.map(({ name }) => `insmod /modules/${name}.ko`),
    script,
    'poweroff -f',
    '',
  ].join('\n');
}
