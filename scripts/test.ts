// Runs the stages of `npm test`, or those it is given, and ends with the line "N passed, N failed, N skipped".
import { existsSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { exercisedPeers, idlePeers, installPeers } from './peers.ts';
import { killRunning, runNode } from './run-node.ts';
import { type Note, type Outcome, runTestFile } from './run-test-file.ts';
import { type Stage, stages } from './stages.ts';

const isCi = process.env.CI === 'true';
const NOTHING: Outcome = { passed: 0, failures: [], skips: [] };

function add(a: Outcome, b: Outcome): Outcome {
  return {
    passed: a.passed + b.passed,
    failures: [...a.failures, ...b.failures],
    skips: [...a.skips, ...b.skips],
  };
}

/** On a machine that was set up for it, a peer that is missing is a failure. */
function withoutExcuses(outcome: Outcome): Outcome {
  const isExcuse = ({ detail }: Note): boolean => isCi && detail.startsWith('peer missing:');
  return {
    passed: outcome.passed,
    failures: [...outcome.failures, ...outcome.skips.filter(isExcuse)],
    skips: outcome.skips.filter((note) => !isExcuse(note)),
  };
}

async function runCommand(name: string, [program, ...args]: readonly string[], timeoutMs: number): Promise<Outcome> {
  const { exit, output } = await runNode([join('node_modules', program ?? ''), ...args], timeoutMs);
  if (exit === 0) return { ...NOTHING, passed: 1 };
  return { ...NOTHING, failures: [{ where: name, name: `exit ${exit ?? 'never came'}`, detail: output.trim() }] };
}

async function runFiles(stage: Stage, files: readonly string[], scratch: string): Promise<Outcome> {
  const env = { ...process.env, BELFRY_PEERS_FILE: join(scratch, 'peers') };
  const outcomes = new Map<string, Outcome>();
  const queue = files.entries();
  const work = async (): Promise<void> => {
    for (const [i, file] of queue) {
      outcomes.set(file, await runTestFile(file, stage.fileTimeoutMs, join(scratch, `${stage.name}-${i}`), env));
    }
  };
  await Promise.all(Array.from({ length: stage.parallel || availableParallelism() }, work));
  return files.map((file) => outcomes.get(file) ?? NOTHING).reduce(add, NOTHING);
}

/** Runs a stage; resolves with its outcome, or with a remark where there was nothing to run. */
async function runStage(stage: Stage, scratch: string): Promise<Outcome | string> {
  if (stage.command !== undefined) return await runCommand(stage.name, stage.command, stage.fileTimeoutMs);
  if (stage.files === undefined) return installPeers();
  const folders = stage.files.map((glob) => glob.split('/*')[0] ?? '').filter((folder) => existsSync(folder));
  if (folders.length === 0) return `${stage.files.join(' ')} does not exist yet`;
  const files = globSync(stage.files).sort();
  if (files.length > 0) return withoutExcuses(await runFiles(stage, files, scratch));
  const where = folders.join(' ');
  return { ...NOTHING, failures: [{ where, name: 'an empty stage', detail: `no file matches ${stage.files}` }] };
}

function totals({ passed, failures, skips }: Outcome): string {
  return `${passed} passed, ${failures.length} failed, ${skips.length} skipped`;
}

function printFailures(failures: readonly Note[]): void {
  for (const { where, name, detail } of failures) {
    console.log(`\n  FAILED ${where} ${name}\n${detail.replaceAll(/^/gm, '    ')}`);
  }
}

function printSkips(skips: readonly Note[]): void {
  for (const [reason, notes] of Map.groupBy(skips, ({ detail }) => detail)) {
    console.log(`\nskipped ${notes.length}: ${reason}`);
    for (const { where, name } of notes) console.log(`  ${where} ${name}`);
  }
}

async function runStages(chosen: readonly Stage[], scratch: string): Promise<Outcome> {
  let sum = NOTHING;
  for (const stage of chosen) {
    process.stdout.write(`${stage.name.padEnd(11)}`);
    const startedMs = performance.now();
    const outcome = await runStage(stage, scratch);
    const tookS = ((performance.now() - startedMs) / 1000).toFixed(1).padStart(6);
    console.log(`${tookS} s  ${typeof outcome === 'string' ? outcome : totals(outcome)}`);
    if (typeof outcome === 'string') continue;
    printFailures(outcome.failures);
    sum = add(sum, outcome);
  }
  return sum;
}

/** Prints which peers were used; one that is installed and was not is a failure on a machine that was set up for it. */
function judgePeers(peersFile: string, isWholeRun: boolean): Outcome {
  const exercised = exercisedPeers(peersFile);
  console.log(`\npeers exercised: ${exercised.join(', ') || 'none'}`);
  const idle = isCi && isWholeRun ? idlePeers(exercised) : [];
  const failures = idle.map((peer) => ({ where: 'peers', name: peer, detail: 'is installed, but no test used it' }));
  printFailures(failures);
  return { ...NOTHING, failures };
}

async function runAndReport(chosen: readonly Stage[]): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'belfry-test-'));
  process.on('exit', () => {
    killRunning();
    rmSync(scratch, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

  const sum = await runStages(chosen, scratch);
  printSkips(sum.skips);
  const total = add(sum, judgePeers(join(scratch, 'peers'), chosen.length === stages.length));
  console.log(`\n${totals(total)}`);
  return total.failures.length > 0 ? 1 : 0;
}

async function main(args: readonly string[]): Promise<number> {
  process.chdir(dirname(import.meta.dirname));
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
