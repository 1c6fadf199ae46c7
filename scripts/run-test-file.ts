// Runs one test file and says what came of it.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Ended, runNode } from './run-node.ts';
import type { TestRecord } from './test-reporter.ts';

/** A test that did not pass: `where` is its file and line, `detail` the reason of a skip or the stack of a failure. */
export interface Note {
  readonly where: string;
  readonly name: string;
  readonly detail: string;
}

export interface Outcome {
  readonly passed: number;
  readonly failures: readonly Note[];
  readonly skips: readonly Note[];
}

const REPORTER = join(import.meta.dirname, 'test-reporter.ts');

/** The names of the tests that started and did not end. */
function openTests(records: readonly TestRecord[]): string[] {
  const open: string[] = [];
  for (const { outcome, name } of records) {
    if (outcome === 'started') open.push(name);
    else if (open.includes(name)) open.splice(open.indexOf(name), 1);
  }
  return open;
}

/** What went wrong with the file as a whole, if anything did: a crash, a time-out, no test at all. */
function faultOf(exit: Ended['exit'], timeoutMs: number, records: readonly TestRecord[]): string | undefined {
  const innermost = openTests(records).at(-1);
  const expectedExit = records.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
  if (exit === expectedExit && innermost === undefined) return records.length === 0 ? 'holds no test' : undefined;
  const how = exit === undefined ? `did not end within ${timeoutMs / 1000} s` : `crashed: exit ${exit}`;
  return innermost === undefined ? how : `${how}, in "${innermost}"`;
}

function readRecords(path: string): TestRecord[] {
  if (!existsSync(path)) return [];
  // The last line is empty, or was cut when the process died.
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line): TestRecord => JSON.parse(line));
}

/** Runs `file`, bounded in time. A crash is a failure. `recordsPath` is where the reporter may write meanwhile. */
export async function runTestFile(
  file: string,
  timeoutMs: number,
  recordsPath: string,
  env: NodeJS.ProcessEnv,
): Promise<Outcome> {
  const reporting = [`--test-reporter=${REPORTER}`, `--test-reporter-destination=${recordsPath}`];
  const { exit, output } = await runNode(['--disable-warning=ExperimentalWarning', ...reporting, file], timeoutMs, env);
  const records = readRecords(recordsPath);
  const notes = (wanted: TestRecord['outcome']): Note[] =>
    records
      .filter(({ outcome }) => outcome === wanted)
      .map(({ line, name, detail }) => ({ where: `${file}:${line}`, name, detail }));
  const failures = notes('failed');
  const fault = faultOf(exit, timeoutMs, records);
  if (fault !== undefined) failures.push({ where: file, name: 'the whole file', detail: fault });
  const last = failures.pop();
  if (last !== undefined) {
    const printed = output.trim() === '' ? '' : `\nThe file printed:\n${output.trimEnd()}`;
    failures.push({ ...last, detail: last.detail + printed });
  }
  return { passed: notes('passed').length, failures, skips: notes('skipped') };
}
