// bench/text: how wide a terminal is, and sentences broken to fit it.
import { stripVTControlCharacters } from 'node:util';

/** Of a pipe or a file: who reads it later may have any terminal. */
const PIPE_COLUMNS = 120;
/** Of a terminal that does not say. */
const TERMINAL_COLUMNS = 80;
const COLUMNS_MIN = 20;

export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Columns of what `output` leads to: the terminal's, else those of $COLUMNS, else 120. */
export function columnsOf(output: Output = process.stdout, env: NodeJS.ProcessEnv = process.env): number {
  if (output.isTTY) return output.columns || TERMINAL_COLUMNS;
  const wanted = Number(env.COLUMNS);
  return Number.isInteger(wanted) && wanted >= COLUMNS_MIN ? wanted : PIPE_COLUMNS;
}

/** Columns that `text` takes; colours take none. */
export function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}

export interface Indents {
  /** Before the first line. */
  readonly first?: string;
  /** Before the others. */
  readonly rest?: string;
}

/** The words of `text` in lines of at most `columns`; a longer word has a line to itself. */
export function wrap(text: string, columns: number, { first = '', rest = '' }: Indents = {}): string[] {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(' ').filter((one) => one !== '')) {
    if (!isEmpty && widthOf(line) + 1 + widthOf(word) > columns) {
      lines.push(line);
      line = rest;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}

/** Every line of `text` wrapped, its own indent before the lines that follow from it. */
export function wrapLines(text: string, columns: number): string {
  return text
    .split('\n')
    .flatMap((line) => {
      const indent = /^ */.exec(line)?.[0] ?? '';
      return widthOf(line) <= columns ? [line] : wrap(line, columns, { first: indent, rest: indent });
    })
    .join('\n');
}
