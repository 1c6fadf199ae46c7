// demo: finds a guest for the demo's disk: a real Linux where there is one, else Belfry's own driver side.
import type { FetchOptions } from '../guests/fetch-options.ts';
import type { GuestPeer } from '../guests/guest-peer.ts';
import { findQemu } from '../guests/qemu.ts';
import { runGuest } from '../guests/run-guest.ts';
import { findUserModeLinux } from '../guests/uml.ts';
import { builtInGuest } from './built-in-guest.ts';
import type { DemoGuest, GuestName, Performance, Stage } from './demo-guest.ts';

const MIB = 2 ** 20;
const BASE_MEMORY_MIB = 192;
const SILENCE_MS = 60_000;
/** Time for each MiB that is written or read: far more than it takes. */
const SILENCE_MS_PER_MIB = 1000;

function linux(name: GuestName, peer: GuestPeer, dataMiB: number): DemoGuest {
  return {
    name,
    description: peer.description,
    dataMiB,
    memoryBytes: ({ memoryMiB }) => (BASE_MEMORY_MIB + memoryMiB) * MIB,
    play: async (stage) => await playLinux(peer, stage),
  };
}

async function playLinux(peer: GuestPeer, { socket, plan, disk, onStep, note, signal }: Stage): Promise<Performance> {
  const sizeMiB = Math.ceil(disk.sizeBytes / MIB);
  const report = await runGuest(peer, {
    ...{ onStep, note, signal },
    sockets: [socket],
    scenario: plan.scenario,
    dataMiB: plan.dataMiB,
    contentMemoryMiB: plan.memoryMiB,
    silenceMs: SILENCE_MS + SILENCE_MS_PER_MIB * Math.min(sizeMiB, plan.dataMiB || sizeMiB),
  });
  const { ok, problem, kernel, bootMs, steps, consoleTail, disks } = report;
  const unchecked: string[] = [];
  if (disks[0]?.ext4 === '') unchecked.push('a file system: there is no ext4 on the disk');
  if (ok && plan.steps === 'format' && !steps.some((step) => step.name === 'discard'))
    unchecked.push('discarding: the disk does not support it');
  return { ok, problem, kernel, bootMs, steps, consoleTail, unchecked };
}

/** Each throws PeerMissingError, which says what to install. */
export const findGuest: { readonly [name in GuestName]: (options: FetchOptions) => Promise<DemoGuest> } = {
  uml: async (options) => linux('uml', await findUserModeLinux(options), 16),
  // Every instruction is emulated: checksums of the same data take it four times as long.
  qemu: async (options) => linux('qemu', await findQemu(options), 8),
  'built-in': async () => builtInGuest,
};
