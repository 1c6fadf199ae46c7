// test/power-cut: one round: a guest runs a workload, and its disk is checked as it is after the power is cut at many points.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FetchOptions } from '../../guests/fetch-options.ts';
import { type CutPoint, cutPoints } from './cut-points.ts';
import type { OnReport, PointReport, Recorded } from './cut-state.ts';
import { FILE_SYSTEMS, type FileSystem, type FileSystemName } from './file-system.ts';
import { checkInGuest } from './guest-check.ts';
import { type GuestKit, guestKit } from './guest-session.ts';
import { checkOnHost } from './host-check.ts';
import { imageFolder, writeImage } from './image-file.ts';
import { type MutantName, servedAs } from './mutants.ts';
import { type CacheMode, MADE, recordWorkload } from './record-workload.ts';
import { makeWorkload } from './workload.ts';

export interface RoundOptions {
  readonly fileSystem: FileSystemName;
  /** Number of cut points; the workload is as long as fits: about half of them are at its flushes. */
  readonly points: number;
  readonly seed: number;
  readonly mutant?: MutantName;
  /** Default: writeback. */
  readonly cache?: CacheMode;
  /** Check only the point with this number. */
  readonly only?: number;
  /** A folder for the images of points that fail. */
  readonly keep?: string;
  /** The round ends after so many points at which files were lost, or fifty times as many that failed. Default 1. */
  readonly failuresMax?: number;
  readonly fetch?: FetchOptions;
  /** Called with a line about what is being done. */
  readonly note?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface RoundReport {
  readonly peer: GuestKit['peer']['name'];
  readonly steps: number;
  readonly flushes: number;
  /** Of them, how many are cut points. */
  readonly flushPoints: number;
  readonly changes: number;
  /** Points that were checked on this machine, and by a mount in a guest. */
  readonly checked: { readonly host: number; readonly guest: number };
  /** Checked points at which some changes were not durable. */
  readonly withPending: number;
  readonly failures: readonly Failure[];
}

export interface Failure {
  readonly point: CutPoint;
  readonly where: PointReport['where'];
  readonly stepsDone: number;
  readonly problems: PointReport['problems'];
  readonly broken: PointReport['broken'];
  /** Its image, where `keep` was given. */
  readonly kept?: string;
}

/** One in so many points is mounted by a guest too, where the host can check them. */
const GUEST_SAMPLE = 16;
const STEPS_MIN = 8;
const NOTE_EVERY = 25;
/** A file system that is damaged hides which files are lost: the round goes on for a while until one is named. */
const FAILURES_A_LOSS = 50;

/** Throws `PeerMissingError` where something is not installed, and the signal's reason when aborted. Leaves nothing behind. */
export async function powerCutRound(options: RoundOptions): Promise<RoundReport> {
  const fileSystem = FILE_SYSTEMS[options.fileSystem];
  const kit = await guestKit(fileSystem, options.fetch ?? {});
  const recorded = await record(kit, fileSystem, options);
  const { recording, from } = recorded;
  const points = cutPoints(recording, { from, count: options.points, seed: options.seed });
  const wanted = options.only === undefined ? points : points.filter(({ number }) => number === options.only);
  const tally = new Tally(options, wanted.length);
  const folder = await mkdtemp(join(await imageFolder(tmpdir()), 'belfry-power-cut-'));
  try {
    await checkEverywhere({ kit, recorded, points: wanted, folder, tally, signal: options.signal });
  } finally {
    // A program that was killed may make a last file meanwhile.
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
  return {
    peer: kit.peer.name,
    steps: recorded.workload.steps.length,
    flushes: recording.flushes.filter(({ begun }) => begun > from).length,
    flushPoints: points.filter(({ isAtFlush }) => isAtFlush).length,
    changes: recording.changes.filter(({ begun }) => begun > from).length,
    checked: tally.checked,
    withPending: tally.withPending,
    failures: tally.failures,
  };
}

async function record(kit: GuestKit, fileSystem: FileSystem, options: RoundOptions): Promise<Recorded> {
  const { seed, points, mutant, cache = 'writeback', note, signal } = options;
  const workload = makeWorkload(seed, Math.max(STEPS_MIN, Math.floor(points / fileSystem.pointsAStep)));
  const count = workload.steps.length;
  note?.(`${fileSystem.name}: ${kit.peer.name} runs a workload of ${count} steps`);
  const onStep = (done: number): void => {
    if (done % NOTE_EVERY === 0 && done > 0) note?.(`${fileSystem.name}: ${done} of ${count} steps`);
  };
  const served = await servedAs(mutant);
  const recording = await recordWorkload({
    kit,
    fileSystem,
    workload,
    served,
    cache,
    onStep,
    ...(signal && { signal }),
  });
  return { workload, recording, fileSystem, from: recording.eventOf(MADE) };
}

interface Checks {
  readonly kit: GuestKit;
  readonly recorded: Recorded;
  readonly points: readonly CutPoint[];
  readonly folder: string;
  readonly tally: Tally;
  readonly signal: AbortSignal | undefined;
}

/** On this machine and in a guest at the same time; an error in one ends the other. */
async function checkEverywhere({ kit, recorded, points, folder, tally, signal }: Checks): Promise<void> {
  const { fileSystem } = recorded;
  const failed = new AbortController();
  const either = AbortSignal.any([failed.signal, ...(signal ? [signal] : [])]);
  const { onReport } = tally;
  const sample = fileSystem.hostReplays ? points.filter((_, i) => i % GUEST_SAMPLE === 0) : points;
  const checks = [
    checkInGuest(recorded, { kit, points: sample, folder, onReport, signal: either }),
    ...(fileSystem.hostReplays ? [checkOnHost(recorded, { points, folder, onReport, signal: either })] : []),
  ];
  for (const check of checks) check.catch((error: unknown) => failed.abort(error));
  const ends = await Promise.allSettled(checks);
  const error = ends.find((end) => end.status === 'rejected');
  if (error !== undefined) throw failed.signal.reason ?? error.reason;
}

/** Counts the checked points, and keeps the failures. */
class Tally {
  readonly checked = { host: 0, guest: 0 };
  readonly failures: Failure[] = [];
  withPending = 0;
  readonly #options: RoundOptions;
  readonly #count: number;

  constructor(options: RoundOptions, count: number) {
    this.#options = options;
    this.#count = count;
  }

  readonly onReport: OnReport = (report) => {
    const { fileSystem, note } = this.#options;
    if (this.#isEnough) return false;
    this.checked[report.where === 'on this machine' ? 'host' : 'guest']++;
    if (report.state.pending > 0) this.withPending++;
    if (report.problems.length + report.broken.length > 0) this.#fail(report);
    const { host, guest } = this.checked;
    const isNews = (host + guest) % NOTE_EVERY === 0;
    if (isNews) note?.(`${fileSystem}: ${host} points checked here and ${guest} in a guest, of ${this.#count}`);
    return !this.#isEnough;
  };

  get #isEnough(): boolean {
    const { failuresMax = 1 } = this.#options;
    const lost = this.failures.filter(({ broken }) => broken.length > 0);
    return lost.length >= failuresMax || this.failures.length >= FAILURES_A_LOSS * failuresMax;
  }

  #fail({ state, where, problems, broken }: PointReport): void {
    const { fileSystem, seed, keep } = this.#options;
    const { point, stepsDone, image } = state;
    const kept = keep && join(keep, `${fileSystem}-seed-${seed}-point-${point.number}.img`);
    if (kept) writeImage(kept, image);
    this.failures.push({ point, where, stepsDone, problems, broken, ...(kept && { kept }) });
  }
}

/** Describes a failure in lines: what is broken, and how it is reproduced. */
export function describeFailure(failure: Failure, { fileSystem, points, seed, mutant, cache }: RoundOptions): string {
  const { point, where, stepsDone, problems, broken, kept } = failure;
  const again = [
    `npm run power-cut -- --fs ${fileSystem} --points ${points} --seed ${seed} --point ${point.number}`,
    ...(cache ? [`--cache ${cache}`] : []),
    ...(mutant ? [`--mutant ${mutant}`] : []),
  ].join(' ');
  return [
    `${fileSystem}, ${where}: seed ${seed}, point ${point.number}: cut before event ${point.at}, ${stepsDone} steps done, survives: ${point.survival}`,
    ...[...broken, ...problems].map((problem) => `  ${problem}`),
    ...(kept ? [`  image: ${kept}`] : []),
    `  again: ${again}`,
  ].join('\n');
}
