// bench/handoff: the results of `bench handoff` as tables for people.
import Table from 'cli-table3';
import pc from 'picocolors';
import { formatCount, formatForeign, formatMicros, formatPerThousand, formatTimes } from '../figures.ts';
import { machineLine } from '../machine.ts';
import { FOREIGN_MAX } from '../processor-use.ts';
import { decided } from '../statistics.ts';
import { DESIGN_NAMES, type HandoffLoad } from './handoff-cases.ts';
import type { DesignResult, HandoffCase, HandoffResult } from './handoff-result.ts';

/** The columns of a table; the page shows the same. */
export const HANDOFF_HEAD = [
  '',
  'IOPS',
  'MiB/s',
  'min..max',
  'p50',
  'p99',
  'p99.99 µs',
  'of',
  'CPU µs',
  '+driver',
  'wakes/1k',
  '+driver',
  'foreign',
  'ratio',
  '#95',
];

const MEBI = 2 ** 20;

export function handoffRow(load: HandoffLoad, one: DesignResult): string[] {
  const { min, max } = load.large ? one.bytesPerSecond : one.requestsPerSecond;
  const range = load.large ? [min, max].map((bytes) => (bytes / MEBI).toFixed(0)) : [min, max].map(formatCount);
  return [
    DESIGN_NAMES[one.design],
    formatCount(one.requestsPerSecond.median),
    (one.bytesPerSecond.median / MEBI).toFixed(0),
    range.join('..'),
    formatMicros(one.p50Us),
    formatMicros(one.p99Us),
    formatMicros(one.p9999Us),
    formatCount(one.requests),
    formatMicros(one.backEndCpuUs.median),
    formatMicros(one.driverCpuUs.median),
    formatPerThousand(one.backEndWakeUps.median),
    formatPerThousand(one.driverWakeUps.median),
    formatForeign(one.foreign),
    one.design === 'parse'
      ? ''
      : `${formatTimes(one.gain.median)} (${one.gain.min.toFixed(2)}..${one.gain.max.toFixed(2)})`,
    publishedOf(one),
  ];
}

/** What the rows say about each other, a line each. */
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

/** What #95 says of the same step. */
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

/** Every case as a table, with what the columns mean at the end. */
export function formatHandoffBench(result: HandoffResult): string {
  const { worker, driver, dispatcher } = result.cpus;
  const footer = [
    ...handoffNotes(result),
    'CPU µs: processor time for a request, of worker and dispatcher, then of the driver. wakes/1k: how often they woke up for 1000 requests.',
    `Worker on CPU ${worker}, dispatcher on CPU ${dispatcher}, driver on CPU ${driver}.`,
    `foreign: processors others used; above ${FOREIGN_MAX} (!) do not trust the row.`,
    machineLine(result.machine),
  ];
  return [...result.cases.map(formatCase), pc.dim(footer.join('\n'))].join('\n\n');
}

/** What everybody who reads the figures should know. */
export function handoffNotes({ rounds, cases }: HandoffResult): string[] {
  const fewest = Math.min(...cases.flatMap(({ designs }) => designs.map(({ requests }) => requests)));
  const few = `At least ${formatCount(fewest)} requests behind each percentile: too few for a 99.99th that repeats.`;
  return [
    `Medians of ${rounds} rounds, run in turns; percentiles of all requests of all rounds. ratio: to the first design, round by round, median (min..max).`,
    fewest >= 1e6 ? `At least ${formatCount(fewest)} requests behind each percentile.` : few,
    "Nobody polls. #95: what hvisor-tool's change published (IOPS / p99 / p99.99), for a guest on another machine, whose dispatcher polled.",
  ];
}

function formatCase(one: HandoffCase): string {
  const table = new Table({ head: HANDOFF_HEAD, style: { head: [], border: [], compact: true }, colAligns: ['left'] });
  for (const design of one.designs) table.push(handoffRow(one.load, design));
  return [pc.bold(one.load.name), table.toString(), ...handoffRemarks(one), ...errorLines(one)].join('\n');
}

function errorLines({ designs }: HandoffCase): string[] {
  return designs.flatMap(({ design, rounds, errors }) => {
    const first = rounds.find((round) => round.errors.first !== undefined)?.errors.first;
    return first === undefined ? [] : [pc.red(`${DESIGN_NAMES[design]}: ${errors} errors; the first: ${first}`)];
  });
}

function publishedOf({ published }: DesignResult): string {
  if (published === undefined) return '';
  const { requestsPerSecond, mebibytesPerSecond, p99Us, p9999Us } = published;
  if (requestsPerSecond === undefined) return `${mebibytesPerSecond} MiB/s`;
  return [formatCount(requestsPerSecond), p99Us, p9999Us].join(' / ');
}
