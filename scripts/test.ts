// Runs the stages of `npm test`, or those it is given, and ends with the line "N passed, N failed, N skipped".
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { slowness } from '../src/testing/patience.ts';
import { DURATIONS_PATH, Durations } from './durations.ts';
import { exercisedPeers, idlePeers } from './peers.ts';
import { clock, Progress } from './progress.ts';
import { killRunning } from './run-node.ts';
import { add, isCi, NOTHING, planOf, runStage, type Surroundings, totals } from './run-stage.ts';
import type { Note, Outcome } from './run-test-file.ts';
import { keepMeasuring, measureSlowness } from './slowness.ts';
import { type Stage, stages } from './stages.ts';
import { TimeLeft } from './time-left.ts';

type Print = (text: string) => void;

function printFailures(failures: readonly Note[], print: Print): void {
  for (const { where, name, detail } of failures)
    print(`\n  FAILED ${where} ${name}\n${detail.replaceAll(/^/gm, '    ')}`);
}

/** Names them once more: at the end of a long run they are out of sight, and a log may have been cut. */
function printFailuresAgain(failures: readonly Note[]): void {
  if (failures.length > 0) console.log(`\nfailed ${failures.length}:`);
  for (const { where, name, detail } of failures) console.log(`  ${where} ${name}: ${detail.split('\n', 1)[0]}`);
}

function printSkips(skips: readonly Note[]): void {
  for (const [reason, notes] of Map.groupBy(skips, ({ detail }) => detail)) {
    console.log(`\nskipped ${notes.length}: ${reason}`);
    for (const { where, name } of notes) console.log(`  ${where} ${name}`);
  }
}

async function runStages(chosen: readonly Stage[], surroundings: Surroundings): Promise<Outcome> {
  const { progress } = surroundings;
  const print = (text: string): void => progress.print(text);
  let sum = NOTHING;
  for (const stage of chosen) {
    progress.stage(stage.name, stage.isHeavy);
    const startedMs = performance.now();
    const outcome = await runStage(stage, surroundings);
    const tookS = ((performance.now() - startedMs) / 1000).toFixed(1).padStart(6);
    const result = typeof outcome === 'string' ? outcome : totals(outcome);
    print(`${stage.name.padEnd(11)}${tookS} s  ${result}`);
    if (typeof outcome === 'string') continue;
    printFailures(outcome.failures, print);
    sum = add(sum, outcome);
  }
  return sum;
}

/** Prints how slow the machine is and how long it will take, then runs the stages. */
async function measureAndRun(chosen: readonly Stage[], scratch: string): Promise<Outcome> {
  const slow = await measureSlowness();
  const durations = new Durations(DURATIONS_PATH);
  const timeLeft = new TimeLeft(chosen.map(planOf), durations);
  const speed = slow > 1 ? `${slow} times slower than a quiet machine: limits stretch as much` : 'a quiet machine';
  console.log(`${speed}; about ${clock(timeLeft.seconds)} minutes`);
  using _measuring = keepMeasuring();
  using progress = new Progress(process.stdout, timeLeft);
  try {
    return await runStages(chosen, { scratch, progress, durations });
  } finally {
    durations.save();
  }
}

/** Prints which peers were used; one that is installed and was not is a failure on a machine that was set up for it. */
function judgePeers(peersFile: string, isWholeRun: boolean): Outcome {
  const exercised = exercisedPeers(peersFile);
  console.log(`\npeers exercised: ${exercised.join(', ') || 'none'}`);
  const idle = isCi && isWholeRun ? idlePeers(exercised) : [];
  const failures = idle.map((peer) => ({ where: 'peers', name: peer, detail: 'is installed, but no test used it' }));
  printFailures(failures, console.log);
  return { ...NOTHING, failures };
}

async function runAndReport(chosen: readonly Stage[]): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'belfry-test-'));
  process.on('exit', () => {
    killRunning();
    rmSync(scratch, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

  const startedMs = performance.now();
  const sum = await measureAndRun(chosen, scratch);
  printSkips(sum.skips);
  const total = add(sum, judgePeers(join(scratch, 'peers'), chosen.length === stages.length));
  printFailuresAgain(total.failures);
  const took = clock((performance.now() - startedMs) / 1000);
  console.log(`\n${took} minutes, on a machine at most ${slowness()} times slower than a quiet one`);
  console.log(totals(total));
  return total.failures.length > 0 ? 1 : 0;
}

async function main(args: readonly string[]): Promise<number> {
  process.chdir(dirname(import.meta.dirname));
  // As bin/belfry.ts does. Otherwise each test file and each of its threads strips the types of all that it loads.
  process.env.NODE_COMPILE_CACHE ??= resolve('node_modules/.cache/belfry');
  if (args.includes('--list')) {
    for (const { name, what } of stages) console.log(`${name.padEnd(11)}${what}`);
    return 0;
  }
  const unknown = args.filter((arg) => !stages.some(({ name }) => name === arg));
  if (unknown.length > 0) {
    console.error(`npm test: no stage is called ${unknown.join(', ')}; "npm test -- --list" names them`);
    return 2;
  }
  return await runAndReport(args.length === 0 ? stages : stages.filter(({ name }) => args.includes(name)));
}

process.exitCode = await main(process.argv.slice(2));
