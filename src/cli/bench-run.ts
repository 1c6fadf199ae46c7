// cli: what every benchmark does around its measurement: progress, Ctrl-C, table, JSON, page.
import { accessSync, constants, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Origin } from '../../bench/origin.ts';
import { columnsOf } from '../../bench/text/columns.ts';
import { interruptSignal, logInterrupted, logStopping } from './interrupt.ts';
import { ProgressLine } from './progress-line.ts';
import { UsageError } from './usage-error.ts';
import { origin } from './version.ts';

export interface BenchHooks {
  readonly signal: AbortSignal;
  readonly onProgress: (line: string) => void;
}

export interface BenchOutput<Result> {
  readonly json?: boolean;
  /** The file that the page is written to. Absent: no page is written. */
  readonly html?: string;
  /** Returns the tables, in lines of at most `columns`. */
  format(result: Result, columns: number): string;
  page(result: Result, origin: Origin): string;
  /** Whether requests failed, which the figures do not show: exit code 1. */
  hasErrors(result: Result): boolean;
}

/** Measures, prints the result and writes the page. Throws UsageError, and what the measurement throws. */
export async function runBench<Result extends object>(
  measure: (hooks: BenchHooks) => Promise<Result>,
  output: BenchOutput<Result>,
): Promise<void> {
  if (output.html !== undefined) checkWritable(output.html);
  const from = origin();
  const result = await measureOrStop(measure);
  if (result === undefined) return;
  if (output.html !== undefined) writeFileSync(output.html, output.page(result, from));
  if (output.json) console.log(JSON.stringify({ origin: from, ...result }, undefined, 2));
  else console.log(output.format(result, columnsOf()));
  if (output.hasErrors(result)) process.exitCode = 1;
}

/** Returns undefined when a signal interrupted it. */
async function measureOrStop<Result>(measure: (hooks: BenchHooks) => Promise<Result>): Promise<Result | undefined> {
  const progress = new ProgressLine(process.stderr);
  const signal = interruptSignal();
  signal.addEventListener('abort', () => progress.clear());
  logStopping(signal);
  const onProgress = (line: string): void => {
    if (!signal.aborted) progress.show(line);
  };
  try {
    return await measure({ signal, onProgress });
  } catch (error) {
    if (!signal.aborted) throw error;
    logInterrupted('nothing is left behind');
    return undefined;
  } finally {
    progress.clear();
  }
}

/** Throws UsageError before ten minutes of measurement rather than after them. */
function checkWritable(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch {
    throw new UsageError(`--html ${path}: there is no such folder, or it cannot be written to`);
  }
}
