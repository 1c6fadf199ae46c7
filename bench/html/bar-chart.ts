// bench/html: horizontal bars with whiskers and a dot for each measurement, as inline SVG; legible on a phone. Pure.
import { quantile } from '../statistics.ts';
import { wrap } from '../text/columns.ts';
import { type Axis, axisFor } from './axis.ts';
import { escapeMarkup } from './markup.ts';

export interface Bar {
  readonly label: string;
  /** Index of the colour, the same for the same thing in every chart of a page. */
  readonly series: number;
  /** Every measurement: the bar is their median, whiskers reach from the least to the greatest. Empty: not measured. */
  readonly values: readonly number[];
}

export interface BarGroup {
  readonly label: string;
  readonly bars: readonly Bar[];
}

export interface BarChart {
  readonly title: string;
  /** What the axis counts and which way is better, as in `requests a second, more is better`. */
  readonly axis: string;
  readonly groups: readonly BarGroup[];
  readonly format: (value: number) => string;
}

/** As wide as a phone, so that text is not made smaller there. The font sizes are those of `reportPage`. */
const WIDTH = 340;
const LEFT = 1;
/** A column of medians. */
const RIGHT = 62;
const PLOT = WIDTH - LEFT - RIGHT;
const TITLE_LINE = 19;
const LINE = 17;
const BAR = 14;
const BAR_STEP = 19;
const GROUP_GAP = 8;
/** Characters of a line of the title, and of other text, which is smaller. */
const TITLE_LETTERS = 40;
const LETTERS = 46;

/** One `<svg>`; it scales with the page and takes its colours from the page's style (`reportPage`). */
export function barChart(chart: BarChart): string {
  const { title, groups, format } = chart;
  const all = groups.flatMap(({ bars }) => bars.flatMap(({ values }) => values));
  const medians = groups.flatMap(({ bars }) => bars.flatMap(({ values }) => medianOf(values) ?? []));
  const axis = axisFor(medians, Math.max(0, ...all));
  const name = axis.isLogarithmic ? `${chart.axis}; each line ten times the one before` : chart.axis;
  const titleLines = wrap(title, TITLE_LETTERS);
  const top = titleLines.length * TITLE_LINE + 6;
  const rows: string[] = [];
  let y = top;
  for (const { label, bars } of groups) {
    rows.push(text(LEFT + 4, y + LINE - 5, label, 'start group'));
    y += LINE;
    for (const bar of bars) {
      rows.push(drawBar(bar, y, axis, format));
      y += BAR_STEP;
    }
    y += GROUP_GAP;
  }
  const bottom = y - GROUP_GAP;
  const nameLines = wrap(name, LETTERS);
  const height = bottom + LINE * (nameLines.length + 1) + 8;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeMarkup(`${title}: ${name}`)}">`,
    ...titleLines.map((line, i) => text(0, 14 + i * TITLE_LINE, line, 'start title')),
    ...grid(axis, top, bottom, format),
    ...rows,
    ...nameLines.map((line, i) => text(0, bottom + LINE * (i + 2), line, 'start tick')),
    '</svg>',
  ].join('\n');
}

function grid(axis: Axis, top: number, bottom: number, format: BarChart['format']): string[] {
  return axis.ticks.map((tick, i) => {
    const at = round(xOf(axis, tick));
    const line = `<line class="${i === 0 ? 'base' : 'grid'}" x1="${at}" x2="${at}" y1="${top}" y2="${bottom}"/>`;
    return line + text(at, bottom + LINE - 3, withoutZeros(format(tick)), `${i === 0 ? 'start' : 'middle'} tick`);
  });
}

function drawBar({ label, series, values }: Bar, y: number, axis: Axis, format: BarChart['format']): string {
  const sorted = values.toSorted((a, b) => a - b);
  if (sorted.length === 0) return text(LEFT + 4, y + BAR - 3, `${label}: not measured`, 'start tick');
  const [least, middle, most] = [0, 0.5, 1].map((share) => quantile(sorted, share)) as [number, number, number];
  const centre = y + BAR / 2;
  const x = (value: number): number => round(xOf(axis, value));
  const [from, to] = [x(least), x(most)];
  const spread = values.length > 1 ? `, ${format(least)} to ${format(most)} in ${values.length} rounds` : '';
  const dots = values.length > 1 ? values.map((value) => `<circle cx="${x(value)}" cy="${centre}" r="1.8"/>`) : [];
  return [
    `<g class="s${series}"><title>${escapeMarkup(`${label}: ${format(middle)}${spread}`)}</title>`,
    `<rect x="${LEFT}" y="${y}" width="${round(Math.max(0.5, x(middle) - LEFT))}" height="${BAR}" rx="2"/>`,
    `<path d="M${from} ${centre}H${to}M${from} ${centre - 4}v8M${to} ${centre - 4}v8"/>`,
    ...dots,
    text(WIDTH - 1, y + BAR - 2, format(middle), 'end value'),
    '</g>',
  ].join('');
}

function xOf(axis: Axis, value: number): number {
  return LEFT + axis.position(value) * PLOT;
}

function medianOf(values: readonly number[]): number | undefined {
  return values.length === 0
    ? undefined
    : quantile(
        values.toSorted((a, b) => a - b),
        0.5,
      );
}

function text(x: number, y: number, content: string, classes: string): string {
  return `<text x="${round(x)}" y="${round(y)}" class="${classes}">${escapeMarkup(content)}</text>`;
}

/** 200.0k as 200k, 1.50M as 1.5M. */
function withoutZeros(figure: string): string {
  return figure.replace(/\.(\d*?)0+(\D*)$/, (_, digits: string, unit: string) => (digits && `.${digits}`) + unit);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
