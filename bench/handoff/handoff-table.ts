// bench/handoff: the results of `bench handoff` as text tables.
import pc from 'picocolors';
import { count, formatCount, formatForeign, formatMicros, formatPerThousand, formatTimes } from '../figures.ts';
import { machineLine } from '../machine.ts';
import { FOREIGN_MAX } from '../processor-use.ts';
import { decided } from '../statistics.ts';
import { wrapLines } from '../text/columns.ts';
import { type Figures, formatComparison } from '../text/table.ts';
import { DESIGN_NAMES, type HandoffLoad } from './handoff-cases.ts';
import type { DesignResult, HandoffCase, HandoffResult } from './handoff-result.ts';

/** The columns of a table; the page shows the same. */
export const HANDOFF_HEAD = [
  'design',
  'requests a second',
  'MiB a second',
  'the same, worst round',
  'the same, best round',
  'latency in µs, half are below (p50)',
  'latency in µs, 99 % are below (p99)',
  'latency in µs, p99.99',
  'requests behind these',
  "back end's processor time for a request, µs",
  "driver's processor time for a request, µs",
  'wake-ups of the back end for 1000 requests',
  'wake-ups of the driver for 1000 requests',
  'processors others used',
  'requests against the parsing dispatcher',
  'the same, worst and best round',
  'published by hvisor-tool #95: requests a second',
  'published by hvisor-tool #95: p99, µs',
  'published by hvisor-tool #95: p99.99, µs',
];

const MEBI = 2 ** 20;

export function handoffRow(load: HandoffLoad, one: DesignResult): string[] {
  const { min, max } = load.large ? one.bytesPerSecond : one.requestsPerSecond;
  const rate = (value: number): string => (load.large ? (value / MEBI).toFixed(0) : formatCount(value));
  const isFirst = one.design === 'parse';
  return [
    DESIGN_NAMES[one.design],
    formatCount(one.requestsPerSecond.median),
    (one.bytesPerSecond.median / MEBI).toFixed(0),
    rate(min),
    rate(max),
    formatMicros(one.p50Us),
    formatMicros(one.p99Us),
    formatMicros(one.p9999Us),
    formatCount(one.requests),
    formatMicros(one.backEndCpuUs.median),
    formatMicros(one.driverCpuUs.median),
    formatPerThousand(one.backEndWakeUps.median),
    formatPerThousand(one.driverWakeUps.median),
    formatForeign(one.foreign),
    isFirst ? '' : formatTimes(one.gain.median),
    isFirst ? '' : `${one.gain.min.toFixed(2)}..${one.gain.max.toFixed(2)}`,
    ...publishedOf(one),
  ];
}

/** The columns of a case that have figures, and a row for each design. */
function figuresOf({ load, designs }: HandoffCase): Figures {
  const rows = designs.map((design) => handoffRow(load, design));
  const isTold = HANDOFF_HEAD.map((_, i) => rows.some((row) => row[i] !== ''));
  const told = (cells: readonly string[]): string[] => cells.filter((_, i) => isTold[i]);
  return { head: told(HANDOFF_HEAD), rows: rows.map(told) };
}

/** Remarks that compare the rows, a line each. */
export function handoffRemarks({ designs }: HandoffCase): string[] {
  const [first, ...others] = designs;
  if (first === undefined) return [];
  const wakeUps = (one: DesignResult): string => formatPerThousand(one.backEndWakeUps.median);
  return others.map((one) => {
    const costs = `${wakeUps(first)} to ${wakeUps(one)} wake-ups of the back end for 1000 requests`;
    const tails = `p99 ${formatMicros(first.p99Us)} to ${formatMicros(one.p99Us)} µs`;
    return `${DESIGN_NAMES[one.design]}: ${rateRemark(first, one)}${publishedGain(first, one)}; ${tails}; ${costs}.`;
  });
}

/** The gain that #95 published for the same step. */
function publishedGain({ published: before }: DesignResult, { published: after }: DesignResult): string {
  const [from, to] = [before, after].map((one) => one?.requestsPerSecond ?? one?.mebibytesPerSecond);
  return from === undefined || to === undefined ? '' : ` (#95: ${formatTimes(to / from)})`;
}

function rateRemark(first: DesignResult, { gain, foreign }: DesignResult): string {
  const disturbed = [first.foreign, foreign].filter(({ isTooMuch }) => isTooMuch);
  const most = Math.max(...disturbed.map(({ share }) => share));
  if (disturbed.length > 0) return `others used ${most.toFixed(1)} processors, so its rate says nothing`;
  if (!decided(gain)) return 'no difference in rate beyond the spread';
  const percent = (Math.abs(gain.median - 1) * 100).toFixed(0);
  return `${percent} % ${gain.median > 1 ? 'more' : 'fewer'} requests than the parsing dispatcher`;
}

/** Returns a table for each case, of at most `columns`, and notes on all of them at the end. */
export function formatHandoffBench(result: HandoffResult, columns: number): string {
  const { worker, driver, dispatcher } = result.cpus;
  const footer = [
    ...handoffNotes(result),
    `Worker on CPU ${worker}, dispatcher on CPU ${dispatcher}, driver on CPU ${driver}.`,
    `Where others used more than ${FOREIGN_MAX} processors (!), do not trust a figure.`,
    machineLine(result.machine),
  ];
  const cases = result.cases.map((one) => formatCase(one, columns));
  return [...cases, pc.dim(wrapLines(footer.join('\n'), columns))].join('\n\n');
}

/** Notes on how to read the figures. */
export function handoffNotes({ rounds, cases }: HandoffResult): string[] {
  const fewest = Math.min(...cases.flatMap(({ designs }) => designs.map(({ requests }) => requests)));
  const few = `At least ${formatCount(fewest)} requests behind each percentile: too few for a 99.99th that repeats.`;
  return [
    `Medians of ${count(rounds, 'round')}, run in turns; percentiles of all requests of all rounds; ratios round by round.`,
    fewest >= 1e6 ? `At least ${formatCount(fewest)} requests behind each percentile.` : few,
    "Nobody polls. hvisor-tool's change #95 published its figures for a guest on another machine, whose dispatcher polled.",
  ];
}

function formatCase(one: HandoffCase, columns: number): string {
  const lines = [...handoffRemarks(one), ...errorLines(one)].map((line) => wrapLines(line, columns));
  return [pc.bold(one.load.name), formatComparison(figuresOf(one), columns), ...lines].join('\n');
}

function errorLines({ designs }: HandoffCase): string[] {
  return designs.flatMap(({ design, rounds, errors }) => {
    const first = rounds.find((round) => round.errors.first !== undefined)?.errors.first;
    return first === undefined
      ? []
      : [pc.red(`${DESIGN_NAMES[design]}: ${count(errors, 'error')}; the first: ${first}`)];
  });
}

/** Requests a second, p99, p99.99. */
function publishedOf({ published }: DesignResult): [string, string, string] {
  if (published === undefined) return ['', '', ''];
  const { requestsPerSecond, mebibytesPerSecond, p99Us, p9999Us } = published;
  const rate = requestsPerSecond === undefined ? `${mebibytesPerSecond} MiB/s` : formatCount(requestsPerSecond);
  return [rate, p99Us === undefined ? '' : `${p99Us}`, p9999Us === undefined ? '' : `${p9999Us}`];
}
