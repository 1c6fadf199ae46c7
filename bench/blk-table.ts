// bench: the results of `bench blk` as text tables.
import pc from 'picocolors';
import type { BackEndResult, BlkBenchResult, CaseResult } from './blk-result.ts';
import { cellGrids } from './disk-grid.ts';
import { formatCount, formatForeign, formatMicros, formatGibibytes as gibibytes } from './figures.ts';
import { isLarge } from './load/load-spec.ts';
import { machineLine } from './machine.ts';
import { FOREIGN_MAX } from './processor-use.ts';
import type { Summary } from './statistics.ts';
import { wrapLines } from './text/columns.ts';
import { type Figures, formatComparison, formatTable } from './text/table.ts';

/** Returns a table for each case, or one row for each where there are many, and notes on all of them at the end. */
export function formatBlkBench(result: BlkBenchResult, columns: number): string {
  const footer = [
    `Figures are medians of the rounds. Where others used more than ${FOREIGN_MAX} processors (!), do not trust a figure.`,
    machineLine(result.machine),
  ];
  const cases = isGrid(result) ? [formatGrids(result, columns)] : result.cases.map((one) => formatCase(one, columns));
  const notes = [...result.notes, ...result.failed.map((line) => pc.red(line))];
  const parts = [...cases, ...notes.map((note) => wrapLines(note, columns))];
  return [...parts, pc.dim(wrapLines(footer.join('\n'), columns))].join('\n\n');
}

/** Whether the cases are cells of one suite, which are shown in one table. */
export function isGrid({ cases }: BlkBenchResult): boolean {
  return cases.length > 1 && cases.every(({ cache }) => cache !== undefined);
}

function formatGrids({ cases }: BlkBenchResult, columns: number): string {
  const [first] = cases as [CaseResult];
  const notes = new Set(
    cases.flatMap((one) => [...one.missing, ...errorLines(one).map((line) => `${one.name}: ${line}`)]),
  );
  return [
    wrapLines(pc.dim(conditions(first)), columns),
    ...cellGrids(cases).map(({ figures, remark }) => `${formatTable(figures, columns)}\n${wrapLines(remark, columns)}`),
    ...[...notes].map((note) => wrapLines(note, columns)),
  ].join('\n');
}

function formatCase(one: CaseResult, columns: number): string {
  const notes = [...idleLines(one), ...one.missing, ...errorLines(one)];
  return [
    wrapLines(pc.bold(one.name), columns),
    wrapLines(pc.dim(conditions(one)), columns),
    formatComparison(blkFigures(one), columns),
    ...notes.map((note) => wrapLines(note, columns)),
  ].join('\n');
}

/** The rounds and processors of a case. */
function conditions({ backEnds, load }: CaseResult): string {
  const { frontEndCpus, backEndCpu, rounds } = backEnds[0] as BackEndResult;
  const elsewhere = backEndCpu === undefined ? 'on an unknown CPU' : `on CPU ${backEndCpu}`;
  return `${rounds.length} x ${load.seconds} s, front end on CPU ${frontEndCpus.join(', ')}, back end ${elsewhere}`;
}

interface Column {
  readonly title: string;
  cell(backEnd: BackEndResult): string;
}

/** A row for each back end; a column without figures is left out. */
export function blkFigures(one: CaseResult): Figures {
  const columns = [...RATES, ...rangeOf(one), ...COSTS, ...ratioOf(one)];
  return {
    head: ['back end', ...columns.map(({ title }) => title)],
    rows: one.backEnds.map((backEnd) => [backEnd.name, ...columns.map(({ cell }) => cell(backEnd))]),
  };
}

const RATES: readonly Column[] = [
  { title: 'requests a second', cell: ({ summary }) => formatCount(summary.requestsPerSecond.median) },
  { title: 'GiB a second', cell: ({ summary }) => gibibytes(summary.bytesPerSecond.median) },
];

/** The columns of the worst and the best round, where there are several rounds. */
function rangeOf({ load, backEnds }: CaseResult): Column[] {
  if (!backEnds.some(({ rounds }) => rounds.length > 1)) return [];
  const large = isLarge(load);
  const format = large ? gibibytes : formatCount;
  const of = ({ summary }: BackEndResult): Summary => (large ? summary.bytesPerSecond : summary.requestsPerSecond);
  const what = large ? 'GiB a second' : 'requests a second';
  return [
    { title: `${what}, worst round`, cell: (backEnd) => format(of(backEnd).min) },
    { title: `${what}, best round`, cell: (backEnd) => format(of(backEnd).max) },
  ];
}

const COSTS: readonly Column[] = [
  { title: 'latency in µs, half are below (p50)', cell: ({ summary }) => formatMicros(summary.p50Us.median) },
  { title: 'latency in µs, 99 % are below (p99)', cell: ({ summary }) => formatMicros(summary.p99Us.median) },
  { title: 'latency in µs, p99.99', cell: ({ summary }) => formatMicros(summary.p9999Us.median) },
  { title: 'kicks for 1000 requests', cell: ({ summary }) => summary.kicksPerThousand.median.toFixed(1) },
  { title: 'calls for 1000 requests', cell: ({ summary }) => summary.callsPerThousand.median.toFixed(1) },
  { title: 'processors the back end used', cell: ({ summary }) => summary.backEndCpus?.median.toFixed(2) ?? '-' },
  {
    title: "back end's processor time for a request, µs",
    cell: ({ summary }) => optionalMicros(summary.backEndSecondsPerMillion),
  },
  { title: 'processors others used', cell: foreignCell },
  { title: 'load average', cell: (one) => worst(one, ({ processors }) => processors.loadAverage).toFixed(1) },
  {
    title: 'times the front end lost its processor',
    cell: (one) => `${worst(one, (round) => round.frontEndInvoluntarySwitches)}`,
  },
  { title: 'times the back end lost its processor', cell: backEndSwitches },
];

function ratioOf({ ratio, roundRatios, bestPeer, backEnds }: CaseResult): Column[] {
  if (ratio === undefined) return [];
  const ours = backEnds[0] as BackEndResult;
  const cell = (one: BackEndResult): string =>
    one === ours ? `${ratio.toFixed(2)}x` : one.name === bestPeer ? 'best peer' : '';
  const against = { title: 'requests against the best peer', cell };
  if (roundRatios === undefined || ours.rounds.length < 2) return [against];
  const range = `${roundRatios.min.toFixed(2)}..${roundRatios.max.toFixed(2)}`;
  return [against, { title: 'the same, worst and best round', cell: (one) => (one === ours ? range : '') }];
}

function worst({ rounds }: BackEndResult, value: (round: BackEndResult['rounds'][number]) => number): number {
  return Math.max(...rounds.map(value));
}

function foreignCell(one: BackEndResult): string {
  const share = worst(one, ({ processors }) => processors.foreign + processors.stolen);
  return formatForeign({ share, isTooMuch: share > FOREIGN_MAX });
}

function backEndSwitches(one: BackEndResult): string {
  const switches = worst(one, ({ processors }) => processors.backEndInvoluntarySwitches ?? Number.NaN);
  return Number.isNaN(switches) ? '-' : `${switches}`;
}

/** Seconds for a million requests are µs for one. */
function optionalMicros(seconds: Summary | undefined): string {
  return seconds === undefined ? '-' : formatMicros(seconds.median);
}

/** For a paced load: the share of a processor that a back end uses, which the table rounds away. */
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
