// npm run models: checks the models of model/ with spin and prints a table; fails if one is broken or a mutant is not.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { modelCases } from './model-cases.ts';
import { formatTable } from './model-table.ts';
import { checkModels, isGood, uncheckedClaims, unreachedSteps, type Verdict } from './model-verdicts.ts';
import { counterexample, missingPrograms } from './spin.ts';

const MODELS = join(import.meta.dirname, '../model');

const nameOf = ({ model, variant }: Pick<Verdict, 'model' | 'variant'>): string => `${model}: ${variant}`;

async function check(words: readonly string[], json: boolean): Promise<number> {
  const cases = modelCases.filter((one) => words.every((word) => nameOf(one).includes(word)));
  if (cases.length === 0) {
    console.error(`no model or variant is called ${words.join(' ')}`);
    return 2;
  }
  const startedMs = performance.now();
  const verdicts = await checkModels(MODELS, cases, (verdict) => {
    if (!isGood(verdict)) console.error(`${verdict.result} ${nameOf(verdict)}: ${verdict.problem ?? ''}`);
  });
  const seconds = (performance.now() - startedMs) / 1000;
  const isWhole = words.length === 0;
  const claims = isWhole ? uncheckedClaims(MODELS, cases) : [];
  const unreached = isWhole ? unreachedSteps(verdicts) : [];
  if (json) {
    const plain = verdicts.map(({ steps, ...verdict }) => verdict);
    console.log(JSON.stringify({ seconds, verdicts: plain, claims, unreached }, undefined, 2));
  } else {
    console.log(formatTable(verdicts));
    const states = verdicts.reduce((sum, verdict) => sum + verdict.states, 0);
    console.log(`\n${verdicts.length} searches, ${states.toLocaleString('en')} states, ${seconds.toFixed(1)} s`);
    for (const claim of claims) console.log(claim);
    for (const where of unreached) console.log(`${where} is never reached`);
  }
  return verdicts.every(isGood) && claims.length === 0 && unreached.length === 0 ? 0 : 1;
}

async function showTrail(words: readonly string[]): Promise<number> {
  const [found] = modelCases.filter((one) => words.every((word) => nameOf(one).includes(word)));
  if (found === undefined) {
    console.error(`no model or variant is called ${words.join(' ')}`);
    return 2;
  }
  console.log(`${nameOf(found)}\n${await counterexample(MODELS, found)}`);
  return 0;
}

async function main(args: string[]): Promise<number> {
  const options = { json: { type: 'boolean', default: false }, trail: { type: 'boolean', default: false } } as const;
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const missing = missingPrograms();
  if (missing.length > 0) {
    console.error(`${missing.join(' and ')} missing: apt-get install spin gcc`);
    return 2;
  }
  return values.trail ? await showTrail(positionals) : await check(positionals, values.json);
}

process.exitCode = await main(process.argv.slice(2));
