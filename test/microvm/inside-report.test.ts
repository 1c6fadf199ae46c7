// test/microvm: what the lines of the tests inside amount to, whatever happens in the middle of them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { InsideReport, insideScript } from './inside-report.ts';

const record = (outcome: string, name: string, detail = ''): string =>
  JSON.stringify({ outcome, name, line: 1, detail });

function reportOf(...lines: readonly string[]): InsideReport {
  const report = new InsideReport();
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

test('what a test wants to be seen is told at once, other output is kept for whoever fails', () => {
  const report = new InsideReport();
  assert.equal(report.accept('BELFRY note 42 µs'), '     42 µs');
  assert.equal(report.accept('chatter'), undefined);
});

test('the script runs every file, whatever becomes of the others, and says how each ended', () => {
  const script = insideScript('/bin/false', ["it's.test.ts", 'b.test.ts'], 9);
  const printed = execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' });
  assert.deepEqual(printed.trimEnd().split('\n'), [
    ...["BELFRY file it's.test.ts", 'BELFRY exit 1'],
    ...['BELFRY file b.test.ts', 'BELFRY exit 1'],
  ]);
});

test('a file that is given up is as if it had not begun, and those before it stay', () => {
  const report = new InsideReport();
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
