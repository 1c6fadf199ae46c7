// bench/html: horizontal bars from zero with whiskers and a dot for each measurement, as inline SVG. Pure.
import { quantile } from '../statistics.ts';
import { escapeMarkup } from './markup.ts';

export interface Bar {
  readonly label: string;
  /** Index of the colour, the same for the same thing in every chart of a page. */
  readonly series: number;
  /** Every measurement: the bar is their median, the whiskers reach from the least to the greatest. Empty: not measured. */
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

const WIDTH = 560;
const LEFT = 150;
/** A column of medians. */
const RIGHT = 70;
const TOP = 30;
const BAR = 15;
const BAR_STEP = 20;
const GROUP_GAP = 14;
const AXIS = 34;
const PLOT = WIDTH - LEFT - RIGHT;

/** One `<svg>`; it scales with the page and takes its colours from the page's style (`reportPage`). */
export function barChart(chart: BarChart): string {
  const all = chart.groups.flatMap(({ bars }) => bars.flatMap(({ values }) => values));
  const ticks = axisTicks(Math.max(0, ...all));
  const end = ticks.at(-1) as number;
  const x = (value: number): number => LEFT + (value / end) * PLOT;
  let y = TOP;
  const rows: string[] = [];
  for (const { label, bars } of chart.groups) {
    const middle = y + (bars.length * BAR_STEP - (BAR_STEP - BAR)) / 2;
    rows.push(text(LEFT - 8, middle + 4, label, 'end group'));
    for (const bar of bars) {
      rows.push(drawBar(bar, y, x, chart.format));
      y += BAR_STEP;
    }
    y += GROUP_GAP;
  }
  const bottom = y - GROUP_GAP;
  const grid = ticks.map((tick) => {
    const at = round(x(tick));
    const line = `<line class="${tick === 0 ? 'base' : 'grid'}" x1="${at}" x2="${at}" y1="${TOP - 6}" y2="${bottom + 4}"/>`;
    return line + text(at, bottom + 18, withoutZeros(chart.format(tick)), 'middle tick');
  });
  const height = bottom + AXIS;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeMarkup(`${chart.title}: ${chart.axis}`)}">`,
    text(0, 14, chart.title, 'start title'),
    ...grid,
    ...rows,
    text(LEFT, height - 2, chart.axis, 'start tick'),
    '</svg>',
  ].join('\n');
}

function drawBar(
  { label, series, values }: Bar,
  y: number,
  x: (value: number) => number,
  format: BarChart['format'],
): string {
  const sorted = values.toSorted((a, b) => a - b);
  if (sorted.length === 0) return text(LEFT + 4, y + BAR - 3, `${label}: not measured`, 'start tick');
  const [least, middle, most] = [0, 0.5, 1].map((share) => quantile(sorted, share)) as [number, number, number];
  const centre = y + BAR / 2;
  const [from, to] = [round(x(least)), round(x(most))];
  const spread = values.length > 1 ? `, ${format(least)} to ${format(most)} in ${values.length} rounds` : '';
  const dots =
    values.length > 1 ? values.map((value) => `<circle cx="${round(x(value))}" cy="${centre}" r="1.8"/>`) : [];
  return [
    `<g class="s${series}"><title>${escapeMarkup(`${label}: ${format(middle)}${spread}`)}</title>`,
    `<rect x="${LEFT}" y="${y}" width="${round(Math.max(0.5, x(middle) - LEFT))}" height="${BAR}" rx="2"/>`,
    `<path d="M${from} ${centre}H${to}M${from} ${centre - 4}v8M${to} ${centre - 4}v8"/>`,
    ...dots,
    text(WIDTH - 2, y + BAR - 3, format(middle), 'end value'),
    '</g>',
  ].join('');
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

/** Three to six round numbers from 0 to at least `most`. */
export function axisTicks(most: number): number[] {
  if (!(most > 0)) return [0, 1];
  const unit = 10 ** Math.floor(Math.log10(most));
  const step = [0.2, 0.5, 1, 2].map((part) => part * unit).find((one) => most / one <= 5) as number;
  const count = Math.ceil(most / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}
