// bench/text: the width of a terminal, and text wrapped to it.
import { stripVTControlCharacters } from 'node:util';

/** Width for a pipe or a file. */
const PIPE_COLUMNS = 120;
/** Width for a terminal of unknown width. */
const TERMINAL_COLUMNS = 80;
const COLUMNS_MIN = 20;

export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Columns of `output`: those of its terminal, else $COLUMNS, else 120. */
export function columnsOf(output: Output = process.stdout, env: NodeJS.ProcessEnv = process.env): number {
  if (output.isTTY) return output.columns || TERMINAL_COLUMNS;
  const wanted = Number(env.COLUMNS);
  return Number.isInteger(wanted) && wanted >= COLUMNS_MIN ? wanted : PIPE_COLUMNS;
}

/** Columns that `text` takes; colour sequences take none. */
export function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}

export interface Indents {
  /** Before the first line. */
  readonly first?: string;
  /** Before the others. */
  readonly rest?: string;
}

/** Wraps `text` into lines of at most `columns`; a longer word has a line to itself. */
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

/** Wraps every line of `text`; the continuation lines keep its indent. */
export function wrapLines(text: string, columns: number): string {
  return text
    .split('\n')
    .flatMap((line) => {
      const indent = /^ */.exec(line)?.[0] ?? '';
      return widthOf(line) <= columns ? [line] : wrap(line, columns, { first: indent, rest: indent });
    })
    .join('\n');
}
