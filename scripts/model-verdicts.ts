// The verdicts of all model cases: properties that hold, mutants that were detected, and checks that cannot fail.
import { globSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { DEADLOCK, formulaOf, type ModelCase } from './model-cases.ts';
import { type Finding, search } from './spin.ts';

export interface Verdict extends ModelCase {
  readonly property: string;
  readonly result: 'holds' | 'caught' | 'BROKEN' | 'SURVIVED' | 'FAILED';
  /** Why the case failed; absent when it did not. */
  readonly problem?: string;
  readonly states: number;
  readonly seconds: number;
  readonly steps: Finding['steps'];
}

export const isGood = ({ result }: Verdict): boolean => result === 'holds' || result === 'caught';

function judge(modelCase: ModelCase, finding: Finding): Verdict {
  const { formula, breaks } = modelCase;
  const { broken, states, seconds, steps } = finding;
  const all = formula === undefined ? `every assertion, ${DEADLOCK}` : formulaOf(formula);
  const common = { ...modelCase, property: breaks ?? all, states, seconds, steps };
  if (breaks === undefined)
    return { ...common, result: broken === undefined ? 'holds' : 'BROKEN', ...problemOf(broken) };
  if (broken === breaks) return { ...common, result: 'caught' };
  return { ...common, result: broken === undefined ? 'SURVIVED' : 'FAILED', ...problemOf(broken) };
}

const problemOf = (broken: string | undefined): { problem?: string } =>
  broken === undefined ? {} : { problem: `broken: ${broken}` };

async function verdictOf(models: string, modelCase: ModelCase): Promise<Verdict> {
  try {
    return judge(modelCase, await search(models, modelCase));
  } catch (error) {
    const nothing = { property: modelCase.breaks ?? '', states: 0, seconds: 0, steps: new Map() };
    return { ...modelCase, ...nothing, result: 'FAILED', problem: (error as Error).message };
  }
}

/** Searches every case, as many at once as there are processors; verdicts come in the order of the cases. */
export async function checkModels(
  models: string,
  cases: readonly ModelCase[],
  onVerdict: (verdict: Verdict) => void = () => {},
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const queue = cases.entries();
  const work = async (): Promise<void> => {
    for (const [i, modelCase] of queue) {
      const verdict = await verdictOf(models, modelCase);
      verdicts[i] = verdict;
      onVerdict(verdict);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return verdicts;
}

/** Steps of the models that no complete search reached: they are not checked. */
export function unreachedSteps(verdicts: readonly Verdict[]): string[] {
  const reached = new Map<string, boolean>();
  for (const { steps } of verdicts)
    for (const [where, came] of steps) reached.set(where, (reached.get(where) ?? false) || came);
  return [...reached].flatMap(([where, came]) => (came ? [] : [where])).sort();
}

/** Properties that no mutant breaks, and mutants that no case runs. */
export function uncheckedClaims(models: string, cases: readonly ModelCase[]): string[] {
  return globSync('*.pml', { cwd: models }).flatMap((file) => {
    const text = readFileSync(join(models, file), 'utf8');
    const own = cases.filter(({ model }) => `${model}.pml` === file);
    const properties = [...text.matchAll(/assert\(.*\/\* (.*) \*\//g)].map(([, property]) => property as string);
    const formulas = [...text.matchAll(/^ltl (\w+)/gm)].map(([, name]) => formulaOf(name as string));
    const mutants = [...text.matchAll(/\bMUTANT_\w+/g)].map(([name]) => name);
    const isBroken = (property: string): boolean => own.some(({ breaks }) => breaks === property);
    const isRun = (mutant: string): boolean => own.some(({ defines }) => defines.includes(mutant));
    return [
      ...[...properties, ...formulas]
        .filter((name) => !isBroken(name))
        .map((name) => `${file}: no mutant breaks "${name}"`),
      ...[...new Set(mutants)].filter((name) => !isRun(name)).map((name) => `${file}: ${name} is never run`),
    ];
  });
}
