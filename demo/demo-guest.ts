// demo: a guest that drives the demo's disk: what it is given, and what it tells.
import type { GuestStep } from '../guests/console-parser.ts';
import type { GuestReport } from '../guests/run-guest.ts';
import type { DemoPlan, DiskTraits } from './demo-plan.ts';

/** The best first. */
export const GUEST_NAMES = ['uml', 'qemu', 'built-in'] as const;
export type GuestName = (typeof GUEST_NAMES)[number];

/** What a guest has to play on. */
export interface Stage {
  readonly socket: string;
  readonly disk: DiskTraits;
  readonly plan: DemoPlan;
  readonly onStep: (step: GuestStep) => void;
  /** Told in one line whenever something is downloaded. */
  readonly note: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface Performance
  extends Pick<GuestReport, 'ok' | 'problem' | 'kernel' | 'bootMs' | 'steps' | 'consoleTail'> {
  /** What turned out to be impossible on this disk, a line each. */
  readonly unchecked: readonly string[];
}

export interface DemoGuest {
  readonly name: GuestName;
  /** What runs, in one line for people. */
  readonly description: string;
  /** MiB it writes in each of two ways unless told otherwise: seconds, not minutes. */
  readonly dataMiB: number;
  /** Its memory, about, in bytes. */
  memoryBytes(plan: DemoPlan): number;
  /** What goes wrong on the disk is in the result. Throws PeerMissingError, and the signal's reason. */
  play(stage: Stage): Promise<Performance>;
}
