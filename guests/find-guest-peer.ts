// guests: the best peer this machine has for booting a Linux on a socket.
import type { FetchOptions } from './fetch-options.ts';
import type { GuestPeer } from './guest-peer.ts';
import { PeerMissingError } from './guest-peer.ts';
import { findQemu } from './qemu.ts';
import { findUserModeLinux } from './uml.ts';

/**
 * User-Mode Linux, which boots in half a second, even if it has to be downloaded first; else QEMU.
 * Throws `PeerMissingError` whose message says, in one line, what is missing for each.
 */
export async function findGuestPeer(options: FetchOptions = {}): Promise<GuestPeer> {
  const reasons: string[] = [];
  for (const find of [findUserModeLinux, findQemu]) {
    try {
      return await find(options);
    } catch (error) {
      if (!(error instanceof PeerMissingError)) throw error;
      reasons.push(error.message);
    }
  }
  throw new PeerMissingError(reasons.join('; '));
}
