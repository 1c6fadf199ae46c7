// bench: the results of `bench blk` as an HTML page.
import type { BackEndResult, BlkBenchResult, CaseResult, Round } from './blk-result.ts';
import { blkFigures, isGrid } from './blk-table.ts';
import { cellGrids } from './disk-grid.ts';
import { count, formatCount, formatMicros, formatTimes } from './figures.ts';
import { barChart } from './html/bar-chart.ts';
import { type ReportSection, reportPage } from './html/report-page.ts';
import { machineLine } from './machine.ts';
import type { Origin } from './origin.ts';
import { summarize } from './statistics.ts';

const OURS = 0;
const PEER = 1;
/** Ratios that a reader takes in as a list. */
const LISTED_MAX = 8;

export function blkPage(result: BlkBenchResult, origin: Origin): string {
  const [first] = result.cases;
  const names = first?.backEnds.map(({ name }) => name) ?? [];
  return reportPage({
    origin,
    title: names.length > 1 ? `A virtio disk under load: ${names[0]} beside its peers` : 'A virtio disk under load',
    lead: leadOf(result),
    legend: names.length > 1 ? [names[0] ?? '', 'peers'] : [names[0] ?? ''],
    sections: [...gridSections(result), ...result.cases.map(sectionOf)],
    footer: [
      'Bars are medians, whiskers reach from the worst round to the best, dots are rounds.',
      `Front end on CPU ${first?.backEnds[0]?.frontEndCpus.join(', ')}, back end on CPU ${first?.backEnds[0]?.backEndCpu ?? 'unknown'}.`,
      machineLine(result.machine),
    ],
  });
}

/** All cells in one table, before the charts of each. */
function gridSections(result: BlkBenchResult): ReportSection[] {
  const remarks = [...result.notes, ...result.failed];
  if (!isGrid(result)) return remarks.length > 0 ? [{ heading: 'Notes', remarks }] : [];
  const grids = cellGrids(result.cases).map(({ title, figures, remark }) => ({
    heading: title,
    text: [remark],
    table: figures,
  }));
  return [...grids, ...(remarks.length > 0 ? [{ heading: 'Notes', remarks }] : [])];
}

function sectionOf(one: CaseResult): ReportSection {
  const chart = (
    title: string,
    axis: string,
    value: (round: Round) => number | undefined,
    format: (value: number) => string,
  ): string =>
    barChart({
      title,
      axis,
      format,
      groups: one.backEnds.map(({ name, rounds }, i) => ({
        label: name,
        bars: [{ label: name, series: i === 0 ? OURS : PEER, values: rounds.flatMap((round) => value(round) ?? []) }],
      })),
    });
  return {
    heading: one.name,
    charts: [
      chart('Rate', 'requests a second: longer is better', (round) => round.requestsPerSecond, formatCount),
      chart(
        'Latency',
        'µs that 99 % of the requests stay below: shorter is better',
        (round) => round.p99Us,
        formatMicros,
      ),
      chart('Cost', 'processors that the back end used', ({ processors }) => processors.backEnd, formatMicros),
    ],
    remarks: [...one.missing, ...one.backEnds.flatMap(errorsOf)],
    table: blkFigures(one),
  };
}

function errorsOf({ name, summary, rounds }: BackEndResult): string[] {
  if (summary.errors === 0) return [];
  const first = rounds.find(({ errors }) => errors.first !== undefined)?.errors.first;
  return [`${name}: ${count(summary.errors, 'error')}; the first: ${first}`];
}

/** The finding in numbers. */
function leadOf({ cases }: BlkBenchResult): string {
  const ratios = cases.flatMap(({ ratio }) => ratio ?? []);
  if (ratios.length > LISTED_MAX) {
    const { median, min, max } = summarize(ratios);
    return `Against the best peer of each cell: ${formatTimes(median)} in the middle, ${formatTimes(min)} to ${formatTimes(max)}.`;
  }
  if (ratios.length > 0)
    return `Of each case the requests a second, against the best peer: ${ratios.map(formatTimes).join(', ')}.`;
  const rates = cases.map(({ backEnds }) => formatCount(backEnds[0]?.summary.requestsPerSecond.median ?? 0));
  return `Requests a second: ${rates.join(', ')}.`;
}
