// demo: the interface of a guest that uses the demo's disk.
import type { GuestStep } from '../guests/console-parser.ts';
import type { GuestReport } from '../guests/run-guest.ts';
import type { DemoPlan, DiskTraits } from './demo-plan.ts';

/** Kinds of guest, the best first. */
export const GUEST_NAMES = ['uml', 'qemu', 'built-in'] as const;
export type GuestName = (typeof GUEST_NAMES)[number];

/** The disk and plan that a guest is given. */
export interface Stage {
  readonly socket: string;
  readonly disk: DiskTraits;
  readonly plan: DemoPlan;
  readonly onStep: (step: GuestStep) => void;
  /** Called with a line whenever something is downloaded. */
  readonly note: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface Performance
  extends Pick<GuestReport, 'ok' | 'problem' | 'kernel' | 'bootMs' | 'steps' | 'consoleTail'> {
  /** Checks that are impossible on this disk, a line each. */
  readonly unchecked: readonly string[];
}

export interface DemoGuest {
  readonly name: GuestName;
  /** The program and kernel that run, in one line. */
  readonly description: string;
  /** MiB that it writes in each of two ways by default: takes seconds, not minutes. */
  readonly dataMiB: number;
  /** Roughly its memory, in bytes. */
  memoryBytes(plan: DemoPlan): number;
  /** Runs the checks; errors on the disk are in the result. Throws PeerMissingError, and the signal's reason. */
  play(stage: Stage): Promise<Performance>;
}
