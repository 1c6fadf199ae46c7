// test/microvm: reads what the tests inside print: records of scripts/test-reporter.ts, file by file, among other lines.
import type { TestRecord } from '../../scripts/test-reporter.ts';
import { quoted } from './bed/outer-script.ts';

/** What came of one test inside. */
export interface InsideResult {
  /** Path in the checkout. */
  readonly file: string;
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly detail: string;
}

const FILE = /^BELFRY file (.*)$/;
const EXIT = /^BELFRY exit (\d+)$/;
const NOTE = /^BELFRY note (.*)$/;
const OUTPUT_LINES_MAX = 60;

/** The shell script that runs `files` one after the other, each bounded in time, so that `InsideReport` understands. */
export function insideScript(node: string, files: readonly string[], fileTimeoutSeconds: number): string {
  const run = `timeout -s KILL ${fileTimeoutSeconds} ${quoted(node)} --disable-warning=ExperimentalWarning`;
  return [
    `for file in ${files.map(quoted).join(' ')}; do`,
    '  echo "BELFRY file $file"',
    `  ${run} --test-reporter=./scripts/test-reporter.ts "$file" 2>&1 </dev/null`,
    '  echo "BELFRY exit $?"',
    'done',
  ].join('\n');
}

/** What a test inside wants to be seen at once, in one line. */
export function note(line: string): void {
  console.log(`BELFRY note ${line}`);
}

/** Collects results line by line. A file that crashes, hangs or holds no test is a failure. */
export class InsideReport {
  readonly #results: InsideResult[] = [];
  #file = '';
  #open: string[] = [];
  #ended = 0;
  #output: string[] = [];

  get results(): readonly InsideResult[] {
    return this.#results;
  }

  /** What this line is worth telling somebody who waits, if it is. */
  accept(line: string): string | undefined {
    const [, file] = FILE.exec(line) ?? [];
    if (file !== undefined) this.#begin(file);
    else if (line.startsWith('{"outcome":')) return this.#record(JSON.parse(line) as TestRecord);
    else if (EXIT.test(line)) return this.#end(Number(EXIT.exec(line)?.[1]));
    else if (NOTE.test(line)) return `     ${NOTE.exec(line)?.[1]}`;
    else this.#keep(line);
    return undefined;
  }

  /** To be called when no more lines will come: whoever ran the script may have died in the middle of a file. */
  close(): string | undefined {
    return this.#file === '' ? undefined : this.#end(undefined);
  }

  /** The file that was being run is to be run again: what came of it is forgotten. Which files are done is in `results`. */
  abandon(): void {
    this.#results.length = this.#file === '' ? this.#results.length : this.#ended;
    this.#file = '';
  }

  #begin(file: string): void {
    this.#file = file;
    this.#open = [];
    this.#ended = this.#results.length;
    this.#output = [];
  }

  #record({ outcome, name, detail }: TestRecord): string | undefined {
    if (outcome === 'started') {
      this.#open.push(name);
      return undefined;
    }
    const begun = this.#open.indexOf(name);
    if (begun >= 0) this.#open.splice(begun, 1);
    return outcome === 'held' ? undefined : this.#add({ name, outcome, detail });
  }

  #end(exitCode: number | undefined): string | undefined {
    const own = this.#results.slice(this.#ended);
    const expected = own.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
    const isWhole = exitCode === expected && this.#open.length === 0 && own.length > 0;
    const where = this.#open.length > 0 ? `, in "${this.#open.at(-1)}"` : '';
    const how = own.length === 0 && exitCode === 0 ? 'holds no test' : `ended with ${exitCode ?? 'nobody to say how'}`;
    const detail = [`${how}${where}`, ...this.#output].join('\n');
    const said = isWhole ? undefined : this.#add({ name: 'the whole file', outcome: 'failed', detail });
    this.#file = '';
    return said;
  }

  #add(result: Omit<InsideResult, 'file'>): string {
    this.#results.push({ file: this.#file, ...result });
    const mark = { passed: 'ok  ', failed: 'FAIL', skipped: 'skip' }[result.outcome];
    const detail = result.outcome === 'passed' ? '' : `\n${result.detail.replaceAll(/^/gm, '     ')}`;
    return `${mark} ${result.name}${detail}`;
  }

  #keep(line: string): void {
    this.#output.push(line);
    if (this.#output.length > OUTPUT_LINES_MAX) this.#output.shift();
  }
}
