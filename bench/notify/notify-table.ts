// bench/notify: the results of `bench notify` as text tables.
import pc from 'picocolors';
import { count, formatCount, formatForeign, formatMicros, formatPerThousand, formatTimes } from '../figures.ts';
import { machineLine } from '../machine.ts';
import { FOREIGN_MAX } from '../processor-use.ts';
import { wrapLines } from '../text/columns.ts';
import { formatComparison } from '../text/table.ts';
import { type Metric, POLL_NAMES } from './notify-cases.ts';
import type { Comparison, NotifyCase, NotifyResult, VariantResult } from './notify-result.ts';

const UNITS: Readonly<Record<Metric, string>> = {
  iops: 'requests a second',
  bandwidth: 'MiB a second',
  latency: 'mean latency, µs',
};

export function formatValue(metric: Metric, value: number): string {
  if (metric === 'latency') return formatMicros(value);
  return metric === 'iops' ? formatCount(value) : value.toFixed(0);
}

/** The columns of a table; the page shows the same. */
export function headOf(metric: Metric): string[] {
  return [
    'device',
    UNITS[metric],
    'the same, least of the rounds',
    'the same, most of the rounds',
    "device's processor time for a request, µs",
    "driver's processor time for a request, µs",
    'wake-ups of the device for 1000 requests',
    'wake-ups of the driver for 1000 requests',
    'processors others used',
    `published by hvisor-tool #78: ${UNITS[metric]}`,
    'eventfd against the signal: times as good',
    'the same, worst round',
    'the same, best round',
    'the same, published by hvisor-tool #78',
  ];
}

export function rowOf(one: NotifyCase, variant: VariantResult): string[] {
  const { metric } = one.load;
  const value = (number: number): string => formatValue(metric, number);
  const comparison =
    variant.doorbell === 'eventfd' ? one.comparisons.find(({ poll }) => poll === variant.poll) : undefined;
  return [
    `${POLL_NAMES[variant.poll]}, ${variant.doorbell}`,
    value(variant.value.median),
    value(variant.value.min),
    value(variant.value.max),
    formatMicros(variant.deviceCpuUs.median),
    formatMicros(variant.driverCpuUs.median),
    formatPerThousand(variant.deviceWakeUps.median),
    formatPerThousand(variant.driverWakeUps.median),
    formatForeign(variant.foreign),
    variant.published === undefined ? '' : value(variant.published),
    ...gainOf(comparison),
  ];
}

/** Returns a table for each case, of at most `columns`, and notes on all of them at the end. */
export function formatNotifyBench(result: NotifyResult, columns: number): string {
  const footer = [
    `Medians of ${count(result.rounds, 'round')} of ${result.secondsPerRound} s, run in turns. Fixed polling lasts ${result.fixedPollUs} µs.`,
    'Eventfd and signal are compared round by round; of latency, less is better.',
    "hvisor-tool's change #78 published its figures for a guest on another machine.",
    `Where others used more than ${FOREIGN_MAX} processors (!), do not trust a figure.`,
    machineLine(result.machine),
  ];
  const cases = result.cases.map((one) => formatCase(one, columns));
  return [...cases, pc.dim(wrapLines(footer.join('\n'), columns))].join('\n\n');
}

function formatCase(one: NotifyCase, columns: number): string {
  const { load, placement, variants, comparisons } = one;
  const { deviceCpu, driverCpu } = placement;
  const rows = variants.filter(({ forgetful }) => !forgetful).map((variant) => rowOf(one, variant));
  const notes = [
    ...comparisons.flatMap(({ poll, remark }) => (remark === undefined ? [] : [`${POLL_NAMES[poll]}: ${remark}`])),
    ...lostKicksLine(one),
    ...errorLines(variants),
  ];
  const title = `${load.name}, ${placement.name}`;
  return [
    wrapLines(`${pc.bold(title)} ${pc.dim(`(device on CPU ${deviceCpu}, driver on CPU ${driverCpu})`)}`, columns),
    formatComparison({ head: headOf(load.metric), rows }, columns),
    ...notes.map((note) => wrapLines(note, columns)),
  ].join('\n');
}

/** The lost kicks of the device that does not look at the ring again before it sleeps. */
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
    return [pc.red(`${who}: ${count(variant.errors, 'error')}; the first: ${first}`)];
  });
}

/** Median, worst and best round, and what was published. */
function gainOf(comparison: Comparison | undefined): string[] {
  if (comparison === undefined) return ['', '', '', ''];
  const { gain, publishedGain } = comparison;
  const published = publishedGain === undefined ? '' : formatTimes(publishedGain);
  return [...[gain.median, gain.min, gain.max].map(formatTimes), published];
}
