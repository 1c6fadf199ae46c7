// bench/notify: the results of `bench notify` as tables for people.
import Table from 'cli-table3';
import pc from 'picocolors';
import { formatCount, formatForeign, formatMicros, formatPerThousand, formatTimes } from '../figures.ts';
import { machineLine } from '../machine.ts';
import { FOREIGN_MAX } from '../processor-use.ts';
import { type Metric, POLL_NAMES } from './notify-cases.ts';
import type { Comparison, NotifyCase, NotifyResult, VariantResult } from './notify-result.ts';

export const UNITS: Readonly<Record<Metric, string>> = {
  iops: 'requests/s',
  bandwidth: 'MiB/s',
  latency: 'mean µs',
};

export function formatValue(metric: Metric, value: number): string {
  if (metric === 'latency') return formatMicros(value);
  return metric === 'iops' ? formatCount(value) : value.toFixed(0);
}

/** The columns of a table; the page shows the same. */
export function headOf(metric: Metric): string[] {
  const costs = ['CPU µs', '+driver', 'wakes/1k', '+driver'];
  return ['', UNITS[metric], 'min..max', ...costs, 'foreign', '#78', 'ratio', "#78's"];
}

export function rowOf(one: NotifyCase, variant: VariantResult): string[] {
  const { metric } = one.load;
  const value = (number: number): string => formatValue(metric, number);
  const comparison =
    variant.doorbell === 'eventfd' ? one.comparisons.find(({ poll }) => poll === variant.poll) : undefined;
  return [
    `${POLL_NAMES[variant.poll]}, ${variant.doorbell}`,
    value(variant.value.median),
    `${value(variant.value.min)}..${value(variant.value.max)}`,
    formatMicros(variant.deviceCpuUs.median),
    formatMicros(variant.driverCpuUs.median),
    formatPerThousand(variant.deviceWakeUps.median),
    formatPerThousand(variant.driverWakeUps.median),
    formatForeign(variant.foreign),
    variant.published === undefined ? '' : value(variant.published),
    comparison === undefined ? '' : gainOf(comparison),
    comparison?.publishedGain === undefined ? '' : formatTimes(comparison.publishedGain),
  ];
}

/** Every case as a table, with what the columns mean at the end. */
export function formatNotifyBench(result: NotifyResult): string {
  const footer = [
    `Medians of ${result.rounds} rounds of ${result.secondsPerRound} s, run in turns. fixed polling: ${result.fixedPollUs} µs.`,
    'CPU µs: processor time for a request, of the device, then of the driver. wakes/1k: how often each woke up for 1000 requests.',
    'ratio: how many times better eventfd is than the signal, round by round: median (min..max). Of latency, less is better.',
    "#78: what hvisor-tool's change published, for a guest on another machine.",
    `foreign: processors others used; above ${FOREIGN_MAX} (!) do not trust the row.`,
    machineLine(result.machine),
  ];
  return [...result.cases.map(formatCase), pc.dim(footer.join('\n'))].join('\n\n');
}

function formatCase(one: NotifyCase): string {
  const { load, placement, variants, comparisons } = one;
  const table = new Table({
    head: headOf(load.metric),
    style: { head: [], border: [], compact: true },
    colAligns: ['left'],
  });
  for (const variant of variants) if (!variant.forgetful) table.push(rowOf(one, variant));
  const { deviceCpu, driverCpu } = placement;
  return [
    `${pc.bold(`${load.name}, ${placement.name}`)} ${pc.dim(`(device on CPU ${deviceCpu}, driver on CPU ${driverCpu})`)}`,
    table.toString(),
    ...comparisons.flatMap(({ poll, remark }) => (remark === undefined ? [] : [`${POLL_NAMES[poll]}: ${remark}`])),
    ...lostKicksLine(one),
    ...errorLines(variants),
  ].join('\n');
}

/** What the device that forgets to look once more did. */
export function lostKicksLine({ variants }: NotifyCase): string[] {
  const forgetful = variants.find((variant) => variant.forgetful);
  if (forgetful === undefined) return [];
  const requests = forgetful.rounds.reduce((sum, round) => sum + round.requests, 0);
  const sleeps = forgetful.rounds.reduce((sum, round) => sum + round.deviceWakeUps * round.requests, 0);
  const found = `${forgetful.lostKicks} lost kicks in ${formatCount(requests)} requests and ${formatCount(sleeps)} sleeps`;
  return [`signal, and asleep without a last look at the ring: ${found}. Every other row looks, and lost none.`];
}

function errorLines(variants: readonly VariantResult[]): string[] {
  return variants.flatMap((variant) => {
    const first = variant.rounds.find(({ errors }) => errors.first !== undefined)?.errors.first;
    if (first === undefined) return [];
    const who = `${POLL_NAMES[variant.poll]}, ${variant.doorbell}`;
    return [pc.red(`${who}: ${variant.errors} errors; the first: ${first}`)];
  });
}

function gainOf({ gain }: Comparison): string {
  return `${formatTimes(gain.median)} (${gain.min.toFixed(2)}..${gain.max.toFixed(2)})`;
}
