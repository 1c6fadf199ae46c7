// Runs one stage of `npm test`: its command, or its test files, as many at once as it may.
import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import type { Durations } from './durations.ts';
import { installPeers } from './peers.ts';
import type { Progress } from './progress.ts';
import { runNode } from './run-node.ts';
import { type Note, type Outcome, runTestFile } from './run-test-file.ts';
import type { Stage } from './stages.ts';
import type { Plan } from './time-left.ts';

export const NOTHING: Outcome = { passed: 0, failures: [], skips: [] };

export const isCi = process.env.CI === 'true';

export interface Surroundings {
  /** A folder for this run. */
  readonly scratch: string;
  readonly progress: Progress;
  readonly durations: Durations;
}

export function add(a: Outcome, b: Outcome): Outcome {
  return {
    passed: a.passed + b.passed,
    failures: [...a.failures, ...b.failures],
    skips: [...a.skips, ...b.skips],
  };
}

export function totals({ passed, failures, skips }: Outcome): string {
  return `${passed} passed, ${failures.length} failed, ${skips.length} skipped`;
}

const filesOf = ({ files = [] }: Stage): string[] => globSync(files).sort();

/** Returns the parts of a stage, to estimate how long it takes. */
export function planOf(stage: Stage): Plan {
  const files = filesOf(stage);
  return { parts: files.length > 0 ? files : [stage.name], lanes: stage.parallel, seconds: stage.seconds };
}

/** On a machine that was set up for all peers, a missing one is a failure. */
function withoutExcuses(outcome: Outcome): Outcome {
  const isExcuse = ({ detail }: Note): boolean => isCi && detail.startsWith('peer missing:');
  return {
    passed: outcome.passed,
    failures: [...outcome.failures, ...outcome.skips.filter(isExcuse)],
    skips: outcome.skips.filter((note) => !isExcuse(note)),
  };
}

async function runCommand({ name, command, silenceMs }: Stage): Promise<Outcome> {
  const [program = '', ...args] = command ?? [];
  const { exit, output } = await runNode([join('node_modules', program), ...args], { silenceMs });
  if (exit === 0) return { ...NOTHING, passed: 1 };
  return { ...NOTHING, failures: [{ where: name, name: `exit ${exit ?? 'never came'}`, detail: output.trim() }] };
}

/** The longest first, so that no long file runs alone at the end. */
function longestFirst(files: readonly string[], durations: Durations): string[] {
  return files.toSorted((a, b) => (durations.of(b) ?? 0) - (durations.of(a) ?? 0));
}

async function runFiles(stage: Stage, files: readonly string[], surroundings: Surroundings): Promise<Outcome> {
  const { scratch, progress, durations } = surroundings;
  const outcomes = new Map<string, Outcome>();
  const queue = longestFirst(files, durations).entries();
  const work = async (): Promise<void> => {
    for (const [i, file] of queue) {
      progress.begin(file);
      const outcome = await runTestFile(file, {
        silenceMs: stage.silenceMs,
        recordsPath: join(scratch, `${stage.name}-${i}`),
        env: { ...process.env, BELFRY_PEERS_FILE: join(scratch, 'peers') },
        onProgress: (doing, isNews) => progress.says(file, doing, isNews),
      });
      outcomes.set(file, outcome);
      durations.set(file, progress.end(file, totals(outcome)));
    }
  };
  await Promise.all(Array.from({ length: stage.parallel }, work));
  return files.map((file) => outcomes.get(file) ?? NOTHING).reduce(add, NOTHING);
}

/** Runs a stage; resolves with its outcome, or with a remark where there was nothing to run. */
export async function runStage(stage: Stage, surroundings: Surroundings): Promise<Outcome | string> {
  const { progress, durations } = surroundings;
  if (stage.files !== undefined) {
    const folders = stage.files.map((glob) => glob.split('/*')[0] ?? '').filter((folder) => existsSync(folder));
    if (folders.length === 0) return `${stage.files.join(' ')} does not exist yet`;
    const files = filesOf(stage);
    if (files.length > 0) return withoutExcuses(await runFiles(stage, files, surroundings));
    const where = folders.join(' ');
    return { ...NOTHING, failures: [{ where, name: 'an empty stage', detail: `no file matches ${stage.files}` }] };
  }
  progress.begin(stage.name);
  const result =
    stage.command === undefined ? await installPeers((line) => progress.print(line)) : await runCommand(stage);
  durations.set(stage.name, progress.end(stage.name, 'done'));
  return result;
}
