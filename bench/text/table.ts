// bench/text: figures as a table that fits the terminal, or as a block for each row where that is too narrow.
import Table from 'cli-table3';
import pc from 'picocolors';
import { widthOf, wrap } from './columns.ts';

export interface Figures {
  /** Titles; the first is that of the rows' names. */
  readonly head: readonly string[];
  /** The first cell of a row names it; the others are figures, and never broken. */
  readonly rows: readonly (readonly string[])[];
  /** How many columns are words, aligned left. Default 1. */
  readonly wordColumns?: number;
}

/** A cell's space on both sides, and the line after it. */
const CELL_EXTRA = 3;
const BORDER = 1;
/** The least width at which a name is wrapped. */
const NAME_COLUMNS_MIN = 14;

/** A row for each thing, a column for each figure. */
export function formatTable(figures: Figures, columns: number): string {
  const widths = columnWidths(figures, columns);
  return widths === undefined ? formatBlocks(figures, columns) : drawTable(figures, widths);
}

/** Transposed: a column for each thing, a row for each figure, to compare many figures of a few things. */
export function formatComparison(figures: Figures, columns: number): string {
  const turned = turn(figures);
  const widths = columnWidths(turned, columns);
  return widths === undefined ? formatBlocks(figures, columns) : drawTable(turned, widths);
}

function turn({ head, rows }: Figures): Figures {
  const all = [head, ...rows];
  const [first = [], ...others] = head.map((_, i) => all.map((row) => row[i] ?? ''));
  return { head: first, rows: others };
}

/** Width of each column without its space; undefined where they do not fit. */
function columnWidths({ head, rows }: Figures, columns: number): number[] | undefined {
  const natural = head.map((title, i) => Math.max(widthOf(title), ...rows.map((row) => widthOf(row[i] ?? ''))));
  // Titles may be wrapped, figures may not.
  const least = head.map((title, i) => Math.max(longestWord(title), ...rows.map((row) => widthOf(row[i] ?? ''))));
  const [naturalName = 0] = natural;
  const longest = Math.max(longestWord(head[0] ?? ''), ...rows.map(([name = '']) => longestWord(name)));
  least[0] = Math.min(naturalName, Math.max(longest, NAME_COLUMNS_MIN));
  if (totalOf(natural) <= columns) return natural;
  const spare = columns - totalOf(least);
  if (spare < 0) return undefined;
  return least.with(0, Math.min(naturalName, least[0] + spare));
}

function totalOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width + CELL_EXTRA, BORDER);
}

function longestWord(text: string): number {
  return Math.max(...text.split(' ').map(widthOf));
}

function drawTable({ head, rows, wordColumns = 1 }: Figures, widths: readonly number[]): string {
  const table = new Table({
    head: [...head],
    colWidths: widths.map((width) => width + CELL_EXTRA - BORDER),
    colAligns: head.map((_, i) => (i < wordColumns ? 'left' : 'right')),
    wordWrap: true,
    style: { head: [], border: [], compact: true },
  });
  // A name that repeats is printed once.
  for (const [i, [name = '', ...cells]] of rows.entries())
    table.push([name === rows[i - 1]?.[0] ? '' : name, ...cells]);
  return table.toString();
}

function formatBlocks({ head, rows }: Figures, columns: number): string {
  return rows.map((row) => formatBlock(head, row, columns)).join('\n');
}

function formatBlock(
  [, ...titles]: readonly string[],
  [name = '', ...cells]: readonly string[],
  columns: number,
): string {
  const told = titles.flatMap((title, i) => {
    const cell = cells[i] ?? '';
    return cell === '' ? [] : [[title, cell] as const];
  });
  const valueWidth = Math.max(...told.map(([, cell]) => widthOf(cell)));
  const lines = told.flatMap(([title, cell]) =>
    wrap(title, columns, { first: `  ${cell.padStart(valueWidth)}  `, rest: ' '.repeat(valueWidth + 4) }).map((line) =>
      line.trimEnd(),
    ),
  );
  return [...wrap(name, columns).map((line) => pc.bold(line)), ...lines].join('\n');
}
