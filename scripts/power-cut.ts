// npm run power-cut: a guest's file system survives a power cut at any moment, on a disk that Belfry serves.
import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { PeerMissingError } from '../guests/guest-peer.ts';
import type { FileSystemName } from '../test/power-cut/file-system.ts';
import { MUTANTS } from '../test/power-cut/mutants.ts';
import { describeFailure, powerCutRound, type RoundOptions } from '../test/power-cut/power-cut.ts';
import { CACHE_MODES } from '../test/power-cut/record-workload.ts';
import { ROUND_POINTS_MAX, splitRounds } from '../test/power-cut/rounds.ts';
import { abortedBySignals } from './aborted-by-signals.ts';

const { values } = parseArgs({
  options: {
    points: { type: 'string', default: '500' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 30)) },
    fs: { type: 'string' },
    point: { type: 'string' },
    mutant: { type: 'string' },
    cache: { type: 'string' },
    keep: { type: 'string' },
  },
});
const FAILURES_MAX = 2;
const points = wholeNumber('points', values.points, 1);
const seed = wholeNumber('seed', values.seed, 0);
const only = values.point === undefined ? undefined : wholeNumber('point', values.point, 0);
const fileSystem = values.fs === undefined ? undefined : oneOf('fs', values.fs, ['ext4', 'xfs'] as const);
const cache = values.cache === undefined ? undefined : oneOf('cache', values.cache, CACHE_MODES);
const mutant = values.mutant === undefined ? undefined : oneOf('mutant', values.mutant, MUTANTS);
if (only !== undefined && fileSystem === undefined) refuse('--point needs --fs, as in --fs ext4 --point 17');
if (only !== undefined && (only >= points || points > ROUND_POINTS_MAX))
  refuse(`--point ${only}: it needs the --points of its round, which are more, and at most ${ROUND_POINTS_MAX}`);

function refuse(line: string): never {
  console.error(`power-cut: ${line}`);
  process.exit(2);
}

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
  return refuse(`--${name} ${text}: it takes a whole number from ${least}, as in --${name} 500`);
}

function oneOf<Name extends string>(option: string, text: string, names: readonly Name[]): Name {
  return names.find((name) => name === text) ?? refuse(`--${option} ${text}: it takes ${names.join(' or ')}`);
}

const signal = abortedBySignals();
const totals = { checked: 0, mounted: 0, failed: 0, skipped: new Set<FileSystemName>() };

async function runRound(round: RoundOptions): Promise<void> {
  const began = performance.now();
  const report = await powerCutRound(round);
  const { checked, failures, steps, flushes, flushPoints, changes, withPending, peer } = report;
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  totals.checked += Math.max(checked.host, checked.guest);
  totals.mounted += checked.guest;
  totals.failed += failures.length;
  console.log(
    `${round.fileSystem}, seed ${round.seed}: ${steps} steps on ${peer} made ${changes} changes and ${flushes} flushes; ` +
      `points: ${round.points} (${flushPoints} at flushes), checked ${checked.host} here and ${checked.guest} in a guest ` +
      `(${withPending} with writes that were not durable), ${failures.length} failed; ${seconds} s`,
  );
  for (const failure of failures) console.error(describeFailure(failure, round));
}

async function run(): Promise<number> {
  console.log(`seed ${seed}`);
  if (values.keep !== undefined) await mkdir(values.keep, { recursive: true });
  for (const round of splitRounds({ points, seed, ...(fileSystem && { fileSystem }) })) {
    if (totals.failed > 0 || totals.skipped.has(round.fileSystem)) continue;
    const note = (line: string): void => console.log(line);
    const options: RoundOptions = {
      ...round,
      note,
      signal,
      fetch: { note, signal },
      failuresMax: FAILURES_MAX,
      ...(mutant && { mutant }),
      ...(cache && { cache }),
      ...(only !== undefined && { only }),
      ...(values.keep !== undefined && { keep: values.keep }),
    };
    try {
      await runRound(options);
    } catch (error) {
      if (!(error instanceof PeerMissingError)) throw error;
      console.error(`${round.fileSystem} skipped: ${error.message}`);
      totals.skipped.add(round.fileSystem);
    }
  }
  console.log(
    `${totals.checked} points checked, ${totals.mounted} of them mounted by a guest, ${totals.failed} failed`,
  );
  return totals.failed > 0 || totals.checked === 0 ? 1 : 0;
}

try {
  process.exitCode = await run();
} catch (error) {
  if (!signal.aborted) throw error;
  console.error(`interrupted after ${totals.checked} points, seed ${seed}`);
  process.exitCode = 130;
}
