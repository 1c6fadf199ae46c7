// demo: who can drive the demo's disk: a real Linux where there is one, else our own driver side.
import type { GuestStep } from '../guests/console-parser.ts';
import type { FetchOptions } from '../guests/debian-packages.ts';
import type { GuestPeer } from '../guests/guest-peer.ts';
import { findQemu } from '../guests/qemu.ts';
import { type GuestReport, runGuest } from '../guests/run-guest.ts';
import { findUserModeLinux } from '../guests/uml.ts';
import { builtInGuest } from './built-in-guest.ts';

/** The best first. */
export const GUEST_NAMES = ['uml', 'qemu', 'built-in'] as const;
export type GuestName = (typeof GUEST_NAMES)[number];

/** What a guest has to play on. */
export interface Stage {
  readonly socket: string;
  readonly dataMiB: number;
  readonly onStep: (step: GuestStep) => void;
  /** Told in one line whenever something is downloaded. */
  readonly note: (line: string) => void;
  readonly signal: AbortSignal;
}

export type Performance = Pick<GuestReport, 'ok' | 'problem' | 'kernel' | 'bootMs' | 'steps' | 'consoleTail'>;

export interface DemoGuest {
  readonly name: GuestName;
  /** What runs, in one line for people. */
  readonly description: string;
  /** MiB it writes in each of two ways unless told otherwise: seconds, not minutes. */
  readonly dataMiB: number;
  /** Its memory, about, in bytes. */
  memoryBytes(dataMiB: number): number;
  /** What goes wrong on the disk is in the result. Throws PeerMissingError, and the signal's reason. */
  play(stage: Stage): Promise<Performance>;
}

const MIB = 2 ** 20;
const BASE_MEMORY_MIB = 192;

function linux(name: GuestName, peer: GuestPeer, dataMiB: number): DemoGuest {
  return {
    name,
    description: peer.description,
    dataMiB,
    // The content twice, and again in the page cache.
    memoryBytes: (mib) => (BASE_MEMORY_MIB + 4 * mib) * MIB,
    play: ({ socket, ...stage }) =>
      runGuest(peer, {
        ...stage,
        sockets: [socket],
        scenario: 'format-write-verify',
        silenceMs: 60_000 + 1000 * stage.dataMiB,
      }),
  };
}

/** Throws PeerMissingError, which says what to install. */
export const findGuest: { readonly [name in GuestName]: (options: FetchOptions) => Promise<DemoGuest> } = {
  uml: async (options) => linux('uml', await findUserModeLinux(options), 32),
  // Every instruction is emulated: checksums of the same data take it four times as long.
  qemu: async (options) => linux('qemu', await findQemu(options), 16),
  'built-in': async () => builtInGuest,
};
