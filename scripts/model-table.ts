// Formats verdicts on models as a text table.
import type { Verdict } from './model-verdicts.ts';

function rowsOf(verdicts: readonly Verdict[]): string[][] {
  const cells = ({ model, variant, property, result, states, seconds }: Verdict): string[] => [
    model,
    variant,
    property,
    result,
    states.toLocaleString('en'),
    seconds.toFixed(1),
  ];
  return [['model', 'variant', 'property', 'result', 'states', 'seconds'], ...verdicts.map(cells)];
}

/** Columns as wide as their widest cell, the two numbers on the right. */
export function formatTable(verdicts: readonly Verdict[]): string {
  const rows = rowsOf(verdicts);
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i >= 4 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join('  ');
  return rows.map(line).join('\n');
}
