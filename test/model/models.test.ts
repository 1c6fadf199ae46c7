// test/model: every model holds and every mutant of it is detected; and the checker distinguishes the two.
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DEADLOCK, type ModelCase, modelCases } from '../../scripts/model-cases.ts';
import { formatTable } from '../../scripts/model-table.ts';
import { checkModels, isGood, uncheckedClaims, unreachedSteps } from '../../scripts/model-verdicts.ts';
import { counterexample, missingPrograms } from '../../scripts/spin.ts';
import { tellProgress } from '../progress.ts';

const MODELS = join(import.meta.dirname, '../../model');
const missing = missingPrograms();
const skip = missing.length > 0 && `peer missing: ${missing.join(', ')}`;

test('every model holds, every mutant breaks what it should, and every step was gone through', { skip }, async (t) => {
  let done = 0;
  const verdicts = await checkModels(MODELS, modelCases, ({ model, variant, seconds }) =>
    tellProgress(`${++done} of ${modelCases.length} searches: ${model}, ${variant} (${seconds.toFixed(1)} s)`),
  );
  t.diagnostic(`\n${formatTable(verdicts)}`);
  assert.deepEqual(
    verdicts.filter((verdict) => !isGood(verdict)).map(({ steps, ...verdict }) => verdict),
    [],
  );
  assert.deepEqual(uncheckedClaims(MODELS, modelCases), []);
  assert.deepEqual(unreachedSteps(verdicts), []);
  const peersFile = process.env.BELFRY_PEERS_FILE;
  if (peersFile) appendFileSync(peersFile, 'spin\n');
});

const SAMPLE = `
byte x;
proctype Counter() {
#ifdef MUTANT_TWICE
  x++;
#endif
#ifdef MUTANT_STUCK
  x == 7;
#endif
  x++;
  if
  :: x == 1 -> skip
  :: x == 9 ->
    x = 0
  fi;
  assert(x == 1) /* x is one */
}
init { run Counter() }
#ifdef LIVE
ltl counted { <> (x == 1) }
#endif
`;

/** A folder with a sample model, as it is and with its text changed. */
function sampleFolder(t: TestContext, text = SAMPLE): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-sample-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'sample.pml'), text);
  return folder;
}

const sample = (rest: Partial<ModelCase>): ModelCase => ({ model: 'sample', variant: '', defines: [], ...rest });
const twice = sample({ defines: ['MUTANT_TWICE'], breaks: DEADLOCK });
const stuck = sample({ defines: ['LIVE', 'MUTANT_STUCK'], formula: 'counted', breaks: 'ltl counted' });
const live = sample({ defines: ['LIVE'], formula: 'counted' });

test('the checker reports what holds, which mutant is detected and which survives', { skip }, async (t) => {
  const folder = sampleFolder(t);
  const results = async (...cases: ModelCase[]) =>
    (await checkModels(folder, cases)).map(({ result, problem }) => [result, ...(problem ? [problem] : [])]);
  assert.deepEqual(await results(sample({}), live, twice, stuck), [['holds'], ['holds'], ['caught'], ['caught']]);
  assert.deepEqual(await results({ ...twice, defines: [] }, { ...stuck, defines: ['LIVE'] }), [
    ['SURVIVED'],
    ['SURVIVED'],
  ]);
  assert.deepEqual(await results({ ...twice, breaks: 'x is one' }), [['FAILED', `broken: ${DEADLOCK}`]]);
  assert.deepEqual(await results(sample({ defines: ['MUTANT_TWICE'] })), [['BROKEN', `broken: ${DEADLOCK}`]]);
  const wrong = sampleFolder(t, SAMPLE.replace('x == 1)', 'x == 2)'));
  const [verdict] = await checkModels(wrong, [sample({ breaks: 'x is one' })]);
  assert.equal(verdict?.result, 'caught');
  const [broken] = await checkModels(sampleFolder(t, 'proctype {'), [sample({})]);
  assert.equal(broken?.result, 'FAILED');
});

test('the checker finds what its models do not check', { skip }, async (t) => {
  const folder = sampleFolder(t);
  assert.deepEqual(uncheckedClaims(folder, [twice]), [
    'sample.pml: no mutant breaks "x is one"',
    'sample.pml: no mutant breaks "ltl counted"',
    'sample.pml: MUTANT_STUCK is never run',
  ]);
  assert.deepEqual(unreachedSteps(await checkModels(folder, [sample({})])), ['sample.pml:14']);
});

test('a counterexample is a trail of steps', { skip }, async (t) => {
  const trail = await counterexample(sampleFolder(t), twice);
  assert.match(trail, /proc {2}1 \(Counter:1\) sample\.pml:\d+ \(state \d+\)\t\[x = \(x\+1\)\]/);
  assert.match(await counterexample(sampleFolder(t), sample({})), /nothing is broken/);
});
