// test/power-cut: one cut point of a workload: the disk as the cut left it, and what the file system owes on it.
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { Replay } from './cut.ts';
import { type CutPoint, fatesFor } from './cut-points.ts';
import type { FileSystem } from './file-system.ts';
import type { PagedImage } from './paged-image.ts';
import type { Promises } from './promises.ts';
import type { Recording } from './recording.ts';
import { promisesAfter, type Workload } from './workload.ts';

export interface CutState {
  readonly point: CutPoint;
  /** Steps of the workload that were done. */
  readonly stepsDone: number;
  /** Number of changes that were not durable. */
  readonly pending: number;
  /** Valid until the next state. */
  readonly image: PagedImage;
  readonly promises: Promises;
}

/** A workload that ran, and what reached its disk. */
export interface Recorded {
  readonly workload: Workload;
  readonly recording: Recording;
  readonly fileSystem: FileSystem;
  /** The event from which on it is cut: the disk is then as it was after mkfs. */
  readonly from: number;
}

/** The result of a check. */
export interface PointReport {
  readonly state: CutState;
  readonly where: 'on this machine' | 'mounted by a guest';
  /** What is wrong with the file system. Empty where it survived, as `broken`. */
  readonly problems: readonly string[];
  /** The promises about files that it broke. */
  readonly broken: readonly string[];
}

/** Called for each point; returns false to end. */
export type OnReport = (report: PointReport) => boolean;

/** Yields the state at each of `points`, which are in the order of their events. */
export function* cutStates(
  { workload, recording, fileSystem, from }: Recorded,
  points: readonly CutPoint[],
): Generator<CutState> {
  const replay = new Replay(recording, fileSystem.diskBytes, { from, untorn: fileSystem.untorn });
  for (const point of points) {
    const random = new SeededRandom(point.seed);
    const pending = replay.advance(point.at);
    const stepsDone = stepsDoneAt(recording, point.at);
    yield {
      point,
      stepsDone,
      pending: pending.length,
      image: replay.image(pending, fatesFor(point.survival, pending.length, random), random),
      promises: promisesAfter(workload, stepsDone),
    };
  }
}

/** Returns how many steps had ended, and the guest had noted so, before the event `at`. */
function stepsDoneAt({ marks }: Recording, at: number): number {
  const last = marks.findLast(({ event, text }) => event < at && /^\d+$/.test(text));
  return Number(last?.text ?? 0);
}
