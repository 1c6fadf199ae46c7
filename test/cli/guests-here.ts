// test/cli: which programs that boot a Linux are here, and the record that they were really used.
import { appendFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { type GuestPeer, PeerMissingError } from '../../guests/guest-peer.ts';
import { findQemu } from '../../guests/qemu.ts';
import { findUserModeLinux } from '../../guests/uml.ts';

const finders = { 'user-mode-linux': findUserModeLinux, qemu: findQemu } as const;

/** As the command line calls them. */
export const GUESTS = [
  ['uml', 'user-mode-linux'],
  ['qemu', 'qemu'],
] as const;

/** Whether the peer is here; skips the test where it is not. */
export async function isHere(t: TestContext, peer: GuestPeer['name']): Promise<boolean> {
  try {
    await finders[peer]({ fetch: false });
    return true;
  } catch (error) {
    if (!(error instanceof PeerMissingError)) throw error;
    t.skip(`peer missing: ${peer}`);
    return false;
  }
}

/** Tells the runner of all tests that the peer was really used. */
export function noteExercised(peer: GuestPeer['name']): void {
  const peersFile = process.env.BELFRY_PEERS_FILE;
  if (peersFile) appendFileSync(peersFile, `${peer}\n`);
}
