// test/microvm: reads what the tests inside print: records of scripts/test-reporter.ts, file by file, among other lines.
import type { Ended } from '../../scripts/run-node.ts';
import type { TestRecord } from '../../scripts/test-reporter.ts';

/** What came of one test inside. */
export interface InsideResult {
  /** Path in the checkout. */
  readonly file: string;
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly detail: string;
}

const FILE = /^BELFRY file (.*)$/;
const EXIT = /^BELFRY exit (.*)$/;
const NOTE = /^BELFRY note (.*)$/;
/** The exit of a file that was killed because it made no progress. */
const SILENT = 'silence';
const OUTPUT_LINES_MAX = 60;

/** The lines before and after what a test file prints. */
export const fileBegins = (file: string): string => `BELFRY file ${file}`;
export const fileEnds = (exit: Ended['exit']): string => `BELFRY exit ${exit ?? SILENT}`;

/** The line of a test inside that is printed at once. */
export function note(line: string): void {
  console.log(`BELFRY note ${line}`);
}

/** A line of progress; `isNews` where it is printed even in a short log. */
export interface Told {
  readonly text: string;
  readonly isNews: boolean;
}

/** Collects results line by line. A file that crashes, hangs or holds no test is a failure. */
export class InsideReport {
  readonly #results: InsideResult[] = [];
  readonly #fileCount: number;
  readonly #done = new Set<string>();
  #file = '';
  #open: string[] = [];
  #ended = 0;
  #output: string[] = [];

  /** @param fileCount how many files will be run, to tell how far it is. */
  constructor(fileCount: number) {
    this.#fileCount = fileCount;
  }

  /** Those of the files that are done. */
  get results(): readonly InsideResult[] {
    return this.#results.slice(0, this.#file === '' ? undefined : this.#ended);
  }

  accept(line: string): Told | undefined {
    const [, file] = FILE.exec(line) ?? [];
    if (file !== undefined) return this.#begin(file);
    if (line.startsWith('{"outcome":')) return this.#record(JSON.parse(line) as TestRecord);
    const [, exit] = EXIT.exec(line) ?? [];
    if (exit !== undefined) return this.#end(exit);
    const [, noted] = NOTE.exec(line) ?? [];
    if (noted !== undefined) return { text: `     ${noted}`, isNews: true };
    this.#keep(line);
    return undefined;
  }

  /** Call it when no more lines will come: the run may have ended in the middle of a file. */
  close(): Told | undefined {
    return this.#file === '' ? undefined : this.#end('nobody to say how');
  }

  /** The file that was being run is to be run again: what came of it is forgotten. Which files are done is in `results`. */
  abandon(): void {
    this.#results.length = this.#file === '' ? this.#results.length : this.#ended;
    this.#file = '';
  }

  #begin(file: string): Told {
    this.#file = file;
    this.#open = [];
    this.#ended = this.#results.length;
    this.#output = [];
    return { text: `${file}, ${this.#done.size + 1} of ${this.#fileCount}`, isNews: true };
  }

  #record({ outcome, name, detail }: TestRecord): Told | undefined {
    if (outcome === 'started') {
      this.#open.push(name);
      return { text: `     ${name}`, isNews: false };
    }
    const begun = this.#open.indexOf(name);
    if (begun >= 0) this.#open.splice(begun, 1);
    return outcome === 'held' ? undefined : this.#add({ name, outcome, detail });
  }

  #end(exit: string): Told | undefined {
    const own = this.#results.slice(this.#ended);
    const expected = own.some(({ outcome }) => outcome === 'failed') ? '1' : '0';
    const isWhole = exit === expected && this.#open.length === 0 && own.length > 0;
    const where = this.#open.length > 0 ? `, in "${this.#open.at(-1)}"` : '';
    const how = own.length === 0 && exit === '0' ? 'holds no test' : `ended with ${exit}`;
    const detail = [`${how}${where}`, ...this.#output].join('\n');
    const told = isWhole ? undefined : this.#add({ name: 'the whole file', outcome: 'failed', detail });
    this.#done.add(this.#file);
    this.#file = '';
    return told;
  }

  #add(result: Omit<InsideResult, 'file'>): Told {
    this.#results.push({ file: this.#file, ...result });
    const mark = { passed: 'ok  ', failed: 'FAIL', skipped: 'skip' }[result.outcome];
    const detail = result.outcome === 'passed' ? '' : `\n${result.detail.replaceAll(/^/gm, '     ')}`;
    return { text: `${mark} ${result.name}${detail}`, isNews: result.outcome === 'failed' };
  }

  #keep(line: string): void {
    this.#output.push(line);
    if (this.#output.length > OUTPUT_LINES_MAX) this.#output.shift();
  }
}
