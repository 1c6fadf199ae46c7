// Upper floor: what every benchmark that runs in this process does around its measurement: progress, Ctrl-C, table, JSON, page.
import { accessSync, constants, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { interruptSignal } from './interrupt.ts';
import { ProgressLine } from './progress-line.ts';
import { UsageError } from './usage-error.ts';

export interface BenchHooks {
  readonly signal: AbortSignal;
  readonly onProgress: (line: string) => void;
}

export interface BenchOutput<Result> {
  readonly json: boolean;
  /** Where to write the page, if anywhere. */
  readonly html: string | undefined;
  format(result: Result): string;
  page(result: Result): string;
  /** Whether something went wrong that the figures do not show: exit code 1. */
  hasErrors(result: Result): boolean;
}

/** Measures, prints, writes. Throws UsageError, and what the measurement throws. */
export async function runBench<Result>(
  measure: (hooks: BenchHooks) => Promise<Result>,
  output: BenchOutput<Result>,
): Promise<void> {
  if (output.html !== undefined) checkWritable(output.html);
  const progress = new ProgressLine(process.stderr);
  const signal = interruptSignal();
  let result: Result;
  try {
    result = await measure({ signal, onProgress: (line) => progress.show(line) });
  } catch (error) {
    if (!signal.aborted) throw error;
    progress.clear();
    console.error('belfry: interrupted; nothing is left behind');
    return;
  } finally {
    progress.clear();
  }
  if (output.html !== undefined) writeFileSync(output.html, output.page(result));
  console.log(output.json ? JSON.stringify(result, undefined, 2) : output.format(result));
  if (output.hasErrors(result)) process.exitCode = 1;
}

/** Better now than after ten minutes. */
function checkWritable(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch {
    throw new UsageError(`--html ${path}: there is no such folder, or it cannot be written to`);
  }
}
