// bench: the results of `bench blk` as tables for people.
import Table from 'cli-table3';
import pc from 'picocolors';
import type { BackEndResult, BlkBenchResult, CaseResult } from './blk-result.ts';
import { formatCount, formatForeign, formatMicros } from './figures.ts';
import { machineLine } from './machine.ts';
import { FOREIGN_MAX } from './processor-use.ts';

/** From this size of a request on, its bytes are what counts. */
const LARGE_BYTES = 64 * 1024;

const HEAD = [
  'back end',
  'IOPS',
  'GiB/s',
  'min..max',
  'p50',
  'p99',
  'p99.99 µs',
  'kicks',
  'calls /1k',
  'CPU',
  'CPU s/M',
  'foreign',
  'load',
  'switches',
  'ratio',
];

/** Every case as a table, with what the columns mean at the end. */
export function formatBlkBench(result: BlkBenchResult): string {
  const footer = [
    'Medians of the rounds; min..max of IOPS, or of GiB/s for large requests. kicks and calls: for 1000 requests.',
    'CPU: processors the back end used, and its seconds for a million requests. ratio: to the best peer.',
    'foreign: processors others used; above 0.10 (!) do not trust the row. switches: times each end lost its own.',
    machineLine(result.machine),
  ];
  return [...result.cases.map(formatCase), pc.dim(footer.join('\n'))].join('\n\n');
}

function formatCase(one: CaseResult): string {
  const table = new Table({ head: HEAD, style: { head: [], border: [], compact: true }, colAligns: ['left'] });
  one.backEnds.forEach((backEnd, i) => {
    table.push(rowOf(backEnd, one, i === 0));
  });
  const { frontEndCpus, backEndCpu } = one.backEnds[0] as BackEndResult;
  const elsewhere = backEndCpu === undefined ? 'wherever it is' : `on CPU ${backEndCpu}`;
  const places = `front end on CPU ${frontEndCpus.join(', ')}, back end ${elsewhere}`;
  const rounds = `${one.backEnds[0]?.rounds.length} x ${one.load.seconds} s`;
  const notes = [...idleLines(one), ...one.missing, ...errorLines(one)];
  return [pc.bold(one.name), pc.dim(`${rounds}, ${places}`), table.toString(), ...notes].join('\n');
}

function rowOf({ name, rounds, summary }: BackEndResult, one: CaseResult, isFirst: boolean): string[] {
  const large = one.load.blockBytes >= LARGE_BYTES;
  const { min, max } = large ? summary.bytesPerSecond : summary.requestsPerSecond;
  const worst = (value: (round: (typeof rounds)[number]) => number): number => Math.max(...rounds.map(value));
  const foreign = worst(({ processors }) => processors.foreign + processors.stolen);
  const backEndSwitches = worst(({ processors }) => processors.backEndInvoluntarySwitches ?? Number.NaN);
  return [
    name,
    formatCount(summary.requestsPerSecond.median),
    gibibytes(summary.bytesPerSecond.median),
    large ? `${gibibytes(min)}..${gibibytes(max)}` : `${formatCount(min)}..${formatCount(max)}`,
    formatMicros(summary.p50Us.median),
    formatMicros(summary.p99Us.median),
    formatMicros(summary.p9999Us.median),
    summary.kicksPerThousand.median.toFixed(1),
    summary.callsPerThousand.median.toFixed(1),
    summary.backEndCpus?.median.toFixed(2) ?? '-',
    summary.backEndSecondsPerMillion?.median.toFixed(2) ?? '-',
    formatForeign({ share: foreign, isTooMuch: foreign > FOREIGN_MAX }),
    worst(({ processors }) => processors.loadAverage).toFixed(1),
    `${worst((round) => round.frontEndInvoluntarySwitches)}+${Number.isNaN(backEndSwitches) ? '-' : backEndSwitches}`,
    isFirst && one.ratio !== undefined ? pc.bold(`${one.ratio.toFixed(2)}x`) : name === one.bestPeer ? 'best peer' : '',
  ];
}

/** Where little is asked of a back end, what it costs is a fraction of what the table shows. */
function idleLines({ load, backEnds }: CaseResult): string[] {
  if (load.rate === undefined) return [];
  return backEnds.flatMap(({ name, summary: { backEndCpus } }) => {
    if (backEndCpus === undefined) return [];
    const [median, min, max] = [backEndCpus.median, backEndCpus.min, backEndCpus.max].map((cpus) => percent(cpus));
    return [`${name}: ${median} % of a processor (${min}..${max})`];
  });
}

/** One line for each back end with errors: how many of which kind, and the first of them in full. */
function errorLines(one: CaseResult): string[] {
  return one.backEnds.flatMap(({ name, rounds }) => {
    const first = rounds.find(({ errors }) => errors.first !== undefined)?.errors.first;
    if (first === undefined) return [];
    const kinds = (['status', 'id', 'length', 'data', 'stall'] as const)
      .map((kind) => [kind, rounds.reduce((sum, { errors }) => sum + errors[kind], 0)] as const)
      .filter(([, sum]) => sum > 0)
      .map(([kind, sum]) => `${sum} ${kind}`);
    return [pc.red(`${name}: errors: ${kinds.join(', ')}; the first: ${first}`)];
  });
}

function percent(cpus: number): string {
  return (cpus * 100).toFixed(2);
}

function gibibytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(2);
}
