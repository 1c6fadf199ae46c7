// One search by spin: generates C from a model and its macros, compiles and runs it, and parses its output.
import { execFile } from 'node:child_process';
import { accessSync, constants, cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { patience } from '../src/testing/patience.ts';
import { DEADLOCK, formulaOf, type ModelCase } from './model-cases.ts';

export interface Finding {
  /** The property that is broken; undefined where all hold. */
  readonly broken: string | undefined;
  readonly states: number;
  readonly seconds: number;
  /** By `file:line` of every step of the model: whether the search reached it. Empty where a property is broken. */
  readonly steps: ReadonlyMap<string, boolean>;
}

/** A search that was not completed: its result proves nothing. */
export class SearchError extends Error {
  override readonly name = 'SearchError';
}

/** For one program; the longest search takes half a minute. */
const LIMIT_MS = 300_000;
/** Depth of the search, and size of its hash table as a power of two: searching by breadth it does not grow. */
const LIMITS = ['-m200000', '-w22'];
const OUTPUT_BYTES_MAX = 64 << 20;

/** Returns the programs it needs that are not on PATH. */
export function missingPrograms(): string[] {
  const folders = (process.env.PATH ?? '').split(':');
  return ['spin', 'cc'].filter((program) => !folders.some((folder) => isExecutable(join(folder, program))));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs a program in `cwd` and returns its output, whatever its exit code. Throws SearchError, also on a time-out. */
async function outputOf(cwd: string, program: string, args: readonly string[]): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const options = { cwd, timeout: patience(LIMIT_MS), maxBuffer: OUTPUT_BYTES_MAX, killSignal: 'SIGKILL' } as const;
  execFile(program, args, options, (error, stdout, stderr) => {
    if (error !== null && typeof error.code !== 'number') reject(new SearchError(`${program}: ${error.message}`));
    else resolve(stdout + stderr);
  });
  return await promise;
}

const macrosOf = ({ defines }: ModelCase): string[] => defines.map((name) => `-D${name}`);
const fileOf = ({ model }: ModelCase): string => `${model}.pml`;

/** A mutant is searched by breadth, for the shortest counterexample; a model by depth, which needs less memory. */
function compilerFlags(modelCase: ModelCase): string[] {
  const search = modelCase.formula !== undefined ? ['-DNFAIR=4'] : ['-DSAFETY', '-DNOFAIR'];
  const isMutant = modelCase.breaks !== undefined;
  const breadth = modelCase.formula === undefined && isMutant ? ['-DBFS'] : [];
  return [isMutant ? '-O0' : '-O1', '-w', ...search, ...breadth];
}

async function build(modelCase: ModelCase, folder: string): Promise<void> {
  const said = await outputOf(folder, 'spin', [...macrosOf(modelCase), '-a', fileOf(modelCase)]);
  const compiled = await outputOf(folder, 'cc', [...compilerFlags(modelCase), '-o', 'pan', 'pan.c']);
  if (compiled !== '' || /error/i.test(said)) throw new SearchError(`${fileOf(modelCase)}: ${said}${compiled}`);
}

/** Returns the comment of the failed assertion: it is at the line at which spin's replay of the trail ends. */
async function brokenAssertion(modelCase: ModelCase, folder: string): Promise<string> {
  const replay = await outputOf(folder, 'spin', [...macrosOf(modelCase), '-t', fileOf(modelCase)]);
  const [, file = '', line = '0'] = /([\w.-]+\.pml):(\d+), Error: assertion violated/.exec(replay) ?? [];
  if (file === '') throw new SearchError(`the trail does not end at an assertion:\n${replay}`);
  // In an inline spin miscounts the lines that macros removed, and names an earlier one.
  const from = readFileSync(join(folder, file), 'utf8')
    .split('\n')
    .slice(Number(line) - 1);
  const text = from.find((candidate) => candidate.includes('assert(')) ?? '';
  return /\/\* (.*) \*\//.exec(text)?.[1] ?? text.trim();
}

async function brokenBy(said: string, modelCase: ModelCase, folder: string): Promise<string | undefined> {
  if (/errors: 0$/m.test(said)) return undefined;
  if (said.includes('invalid end state (at')) return DEADLOCK;
  if (said.includes('acceptance cycle (at')) return formulaOf(modelCase.formula ?? '');
  if (said.includes('assertion violated')) return await brokenAssertion(modelCase, folder);
  throw new SearchError(`not understood:\n${said}`);
}

/** Maps the steps of the processes, as `pan -d` lists them, to whether `said`, pan's output, shows them as reached. */
function stepsReached(listing: string, said: string): Map<string, boolean> {
  const unreached = new Set<string>();
  for (const [, process, states = ''] of said.matchAll(/^unreached in proctype (\w+)\n((?:\t.*\n)*)/gm)) {
    for (const [, state] of states.matchAll(/, state (\d+),/g)) unreached.add(`${process} ${state}`);
  }
  const steps = new Map<string, boolean>();
  for (const [, process, transitions = ''] of listing.matchAll(/^proctype (\w+)\n((?:\t.*\n)*)/gm)) {
    for (const [, state, where = ''] of transitions.matchAll(/^\tstate +(\d+) .*\] ([\w.-]+\.pml:\d+) =>/gm)) {
      steps.set(where, (steps.get(where) ?? false) || !unreached.has(`${process} ${state}`));
    }
  }
  return steps;
}

async function inCopyOf<Result>(models: string, work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-model-'));
  try {
    cpSync(models, folder, { recursive: true });
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Searches one model of the folder `models` exhaustively. Throws SearchError when that could not be completed. */
export async function search(models: string, modelCase: ModelCase): Promise<Finding> {
  const startedMs = performance.now();
  return await inCopyOf(models, async (folder) => {
    await build(modelCase, folder);
    const how = modelCase.formula === undefined ? [] : ['-a', '-f'];
    const said = await outputOf(folder, './pan', [...how, ...LIMITS]);
    const broken = await brokenBy(said, modelCase, folder);
    if (broken === undefined && /Search not completed|too small|out of memory/.test(said)) throw new SearchError(said);
    const states = Number(/^ *(\d[\d.e+]*) states, stored/m.exec(said)?.[1] ?? 0);
    const steps = broken === undefined ? stepsReached(await outputOf(folder, './pan', ['-d']), said) : new Map();
    return { broken, states, seconds: (performance.now() - startedMs) / 1000, steps };
  });
}

/** The steps that lead to what a case breaks, as spin replays them. */
export async function counterexample(models: string, modelCase: ModelCase): Promise<string> {
  return await inCopyOf(models, async (folder) => {
    await build(modelCase, folder);
    const how = modelCase.formula === undefined ? [] : ['-a', '-f'];
    const said = await outputOf(folder, './pan', [...how, ...LIMITS]);
    if (/errors: 0$/m.test(said)) return 'nothing is broken: there is no counterexample';
    return await outputOf(folder, 'spin', [...macrosOf(modelCase), '-t', '-p', fileOf(modelCase)]);
  });
}
