// test/microvm: what the lines of the tests inside amount to, whatever happens in the middle of them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { InsideReport } from './inside-report.ts';

const record = (outcome: string, name: string, detail = ''): string =>
  JSON.stringify({ outcome, name, line: 1, detail });

function reportOf(...lines: readonly string[]): InsideReport {
  const report = new InsideReport(2);
  for (const line of lines) report.accept(line);
  report.close();
  return report;
}

test('each test of each file comes with its outcome', () => {
  const report = reportOf(
    ...['BELFRY file a.test.ts', record('started', 'one'), record('passed', 'one'), 'BELFRY exit 0'],
    ...['BELFRY file b.test.ts', record('started', 'two'), record('failed', 'two', 'why'), 'BELFRY exit 1'],
  );
  assert.deepEqual(report.results, [
    { file: 'a.test.ts', name: 'one', outcome: 'passed', detail: '' },
    { file: 'b.test.ts', name: 'two', outcome: 'failed', detail: 'why' },
  ]);
});

test('one that holds others is not one more', () => {
  const lines = [record('started', 'all'), record('started', 'one'), record('passed', 'one'), record('held', 'all')];
  const report = reportOf('BELFRY file a.test.ts', ...lines, 'BELFRY exit 0');
  assert.deepEqual(
    report.results.map(({ name }) => name),
    ['one'],
  );
});

const faults = [
  ['a file that crashes after its tests', [record('passed', 'one'), 'BELFRY exit 134'], /ended with 134/],
  ['a file that is killed in a test', [record('started', 'one'), 'BELFRY exit 137'], /ended with 137, in "one"/],
  ['a file without a test', ['BELFRY exit 0'], /holds no test/],
  ['a machine that dies', [record('started', 'one'), 'Kernel panic'], /nobody to say how, in "one"\nKernel panic/],
  ['a test that never ends in a file that does', [record('started', 'one'), 'BELFRY exit 0'], /in "one"/],
] as const;

for (const [what, lines, expected] of faults) {
  test(`${what} is a failure of the whole file`, () => {
    const last = reportOf('BELFRY file a.test.ts', ...lines).results.at(-1);
    assert.deepEqual([last?.name, last?.outcome], ['the whole file', 'failed']);
    assert.match(last?.detail ?? '', expected);
  });
}

test('progress of a test is passed on, news is marked, and other output is kept for failures', () => {
  const report = new InsideReport(2);
  assert.deepEqual(report.accept('BELFRY file a.test.ts'), { text: 'a.test.ts, 1 of 2', isNews: true });
  assert.deepEqual(report.accept(record('started', 'one')), { text: '     one', isNews: false });
  assert.deepEqual(report.accept('BELFRY note 42 µs'), { text: '     42 µs', isNews: true });
  assert.equal(report.accept('chatter'), undefined);
  assert.deepEqual(report.accept(record('passed', 'one')), { text: 'ok   one', isNews: false });
  assert.deepEqual(report.results, [], 'the file may yet have to be run again');
  assert.equal(report.accept('BELFRY exit 0'), undefined);
  assert.equal(report.results.length, 1);
  assert.deepEqual(report.accept('BELFRY file b.test.ts'), { text: 'b.test.ts, 2 of 2', isNews: true });
  assert.match(report.accept('BELFRY exit silence')?.text ?? '', /^FAIL the whole file\n *ended with silence$/);
});

test('every file is run, whatever the outcome of the others, and the report has the outcome of each', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-inside-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const files = ['good.test.mjs', 'bad.test.mjs', 'nowhere.mjs'].map((name) => join(folder, name));
  for (const [i, file] of files.slice(0, 2).entries())
    writeFileSync(file, `import { test } from 'node:test';\ntest('one', () => { if (${i}) throw new Error('why'); });`);
  const words = ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'run-files.ts'), ...files];
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const report = new InsideReport(files.length);
  for (const line of execFileSync(process.execPath, words, { encoding: 'utf8', env }).split('\n')) report.accept(line);
  assert.deepEqual(
    report.results.map(({ file, name, outcome }) => [basename(file), name, outcome]),
    [
      ['good.test.mjs', 'one', 'passed'],
      ['bad.test.mjs', 'one', 'failed'],
      ['nowhere.mjs', 'the whole file', 'failed'],
    ],
  );
});

test('a file that is given up is as if it had not begun, and those before it stay', () => {
  const report = new InsideReport(2);
  const lines = [
    ...['BELFRY file a.test.ts', record('started', 'one'), record('passed', 'one'), 'BELFRY exit 0'],
    ...['BELFRY file b.test.ts', record('started', 'two'), record('passed', 'two'), record('started', 'three')],
  ];
  for (const line of lines) report.accept(line);
  report.abandon();
  report.close();
  assert.deepEqual(
    report.results.map(({ file, name }) => [file, name]),
    [['a.test.ts', 'one']],
  );
});
