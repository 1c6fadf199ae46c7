// Runs one test file and returns its outcome.
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { patience } from '../src/testing/patience.ts';
import { PROGRESS } from '../test/progress.ts';
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

export interface FileRun {
  /** It is killed after this long without a test that starts or ends or reports progress; stretched by slowness. */
  readonly silenceMs: number;
  /** The file that the reporter writes its records to. */
  readonly recordsPath: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Called with the name of each test that starts, and with what `tellProgress` of test/progress.ts reports. */
  readonly onProgress?: (doing: string, isNews: boolean) => void;
}

const REPORTER = join(import.meta.dirname, 'test-reporter.ts');
const READ_BYTES = 1 << 16;

/** The names of the tests that started and did not end. */
function openTests(records: readonly TestRecord[]): string[] {
  const open: string[] = [];
  for (const { outcome, name } of records) {
    if (outcome === 'started') open.push(name);
    else if (open.includes(name)) open.splice(open.indexOf(name), 1);
  }
  return open;
}

/** Returns what is wrong with the file as a whole: a crash, a time-out, no test at all; or undefined. */
function faultOf(exit: Ended['exit'], silenceMs: number, records: readonly TestRecord[]): string | undefined {
  const innermost = openTests(records).at(-1);
  const expectedExit = records.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
  if (exit === expectedExit && innermost === undefined) return records.length === 0 ? 'holds no test' : undefined;
  const seconds = Math.round(patience(silenceMs) / 1000);
  const how = exit === undefined ? `made no progress for ${seconds} s` : `crashed: exit ${exit}`;
  return innermost === undefined ? how : `${how}, in "${innermost}"`;
}

/** A file of records to which the reporter goes on writing. */
class RecordsFile {
  readonly all: TestRecord[] = [];
  readonly #path: string;
  readonly #decoder = new TextDecoder();
  #readBytes = 0;
  #rest = '';

  constructor(path: string) {
    this.#path = path;
  }

  /** Returns the records since the last call. The last line may be half written, for ever if the process was killed. */
  readNew(): readonly TestRecord[] {
    const lines = (this.#rest + this.#readOn()).split('\n');
    this.#rest = lines.pop() ?? '';
    const records = lines.map((line): TestRecord => JSON.parse(line));
    this.all.push(...records);
    return records;
  }

  #readOn(): string {
    const bytes = new Uint8Array(READ_BYTES);
    let text = '';
    let fd: number;
    try {
      fd = openSync(this.#path, 'r');
    } catch {
      return text; // the reporter has not begun
    }
    for (let count = -1; count !== 0; this.#readBytes += count) {
      count = readSync(fd, bytes, 0, READ_BYTES, this.#readBytes);
      text += this.#decoder.decode(bytes.subarray(0, count), { stream: true });
    }
    closeSync(fd);
    return text;
  }
}

/** Runs `file` while it makes progress. A crash is a failure. */
export async function runTestFile(file: string, run: FileRun): Promise<Outcome> {
  const { silenceMs, recordsPath, env = process.env, onProgress = () => {} } = run;
  const records = new RecordsFile(recordsPath);
  let isAlive = false;
  const onLine = (line: string): void => {
    const [, kind, doing] = PROGRESS.exec(line) ?? [];
    if (doing === undefined) return;
    isAlive = true;
    onProgress(doing, kind === 'news');
  };
  const look = (): boolean => {
    const news = records.readNew();
    const started = news.findLast(({ outcome }) => outcome === 'started');
    if (started !== undefined) onProgress(started.name, false);
    const wasAlive = isAlive || news.length > 0;
    isAlive = false;
    return wasAlive;
  };
  const reporting = [`--test-reporter=${REPORTER}`, `--test-reporter-destination=${recordsPath}`];
  const words = ['--disable-warning=ExperimentalWarning', ...reporting, file];
  const { exit, output } = await runNode(words, { silenceMs, env, onLine, isAlive: look });
  return outcomeOf(file, records.all, faultOf(exit, silenceMs, records.all), output);
}

function outcomeOf(file: string, records: readonly TestRecord[], fault: string | undefined, output: string): Outcome {
  const notes = (wanted: TestRecord['outcome']): Note[] =>
    records
      .filter(({ outcome }) => outcome === wanted)
      .map(({ line, name, detail }) => ({ where: `${file}:${line}`, name, detail }));
  const failures = notes('failed');
  if (fault !== undefined) failures.push({ where: file, name: 'the whole file', detail: fault });
  const last = failures.pop();
  if (last !== undefined) {
    const lines = output.split('\n').filter((line) => !PROGRESS.test(line));
    const text = lines.join('\n').trimEnd();
    const printed = text.trim() === '' ? '' : `\nThe file printed:\n${text}`;
    failures.push({ ...last, detail: last.detail + printed });
  }
  return { passed: notes('passed').length, failures, skips: notes('skipped') };
}
