// bench/handoff: the results of `bench handoff` as an HTML page.
import { formatCount, formatMicros, formatTimes } from '../figures.ts';
import { type Bar, barChart } from '../html/bar-chart.ts';
import { type ReportSection, reportPage } from '../html/report-page.ts';
import { machineLine } from '../machine.ts';
import type { Origin } from '../origin.ts';
import { DESIGN_NAMES } from './handoff-cases.ts';
import { DESIGNS, type Design } from './handoff-job.ts';
import type { DesignResult, HandoffCase, HandoffResult, HandoffRound } from './handoff-result.ts';
import { HANDOFF_HEAD, handoffNotes, handoffRemarks, handoffRow } from './handoff-table.ts';

const SHORT_NAMES: Readonly<Record<Design, string>> = {
  parse: 'dispatcher parses',
  wake: 'dispatcher only wakes',
  none: 'no dispatcher',
};

/** hvisor-tool's change that took the parsing out of its dispatcher. */
const CHANGE_95 = 'https://github.com/syswonder/hvisor-tool/pull/95';

export function handoffPage(result: HandoffResult, origin: Origin): string {
  const { worker, driver, dispatcher } = result.cpus;
  return reportPage({
    origin,
    links: { '#95': CHANGE_95 },
    title: 'Which thread should own a virtqueue: a worker alone, or a dispatcher that passes requests to it',
    lead: leadOf(result),
    legend: DESIGNS.map((design) => DESIGN_NAMES[design]),
    sections: result.cases.map(sectionOf),
    footer: [
      'Bars are medians, whiskers reach from the worst round to the best, dots are rounds.',
      ...handoffNotes(result),
      `Worker on CPU ${worker}, dispatcher on CPU ${dispatcher}, driver on CPU ${driver}; a disk in memory behind all three designs.`,
      machineLine(result.machine),
    ],
  });
}

function sectionOf(one: HandoffCase): ReportSection {
  const { load, designs } = one;
  const rate = load.large
    ? chartOf(
        'Throughput',
        'MiB a second: longer is better',
        designs,
        (round) => round.bytesPerSecond / 2 ** 20,
        (mebi) => mebi.toFixed(0),
      )
    : chartOf('Rate', 'requests a second: longer is better', designs, (round) => round.requestsPerSecond, formatCount);
  const cpu = 'processor time for a request, worker and dispatcher together, in µs: shorter is better';
  return {
    heading: load.name,
    charts: [rate, latencyChart(designs), chartOf('Cost', cpu, designs, (round) => round.backEndCpuUs, formatMicros)],
    remarks: handoffRemarks(one),
    table: { head: HANDOFF_HEAD, rows: designs.map((design) => handoffRow(load, design)) },
  };
}

function chartOf(
  title: string,
  axis: string,
  designs: readonly DesignResult[],
  value: (round: HandoffRound) => number,
  format: (value: number) => string,
): string {
  const groups = designs.map(({ design, rounds }) => ({
    label: SHORT_NAMES[design],
    bars: [barOf(design, rounds.map(value))],
  }));
  return barChart({ title, axis, groups, format });
}

function latencyChart(designs: readonly DesignResult[]): string {
  const group = (label: string, value: (round: HandoffRound) => number) => ({
    label,
    bars: designs.map(({ design, rounds }) => barOf(design, rounds.map(value))),
  });
  const groups = [group('median', (round) => round.p50Us), group('99th percentile', (round) => round.p99Us)];
  return barChart({ title: 'Latency', axis: 'µs, round by round: shorter is better', groups, format: formatMicros });
}

function barOf(design: Design, values: readonly number[]): Bar {
  return { label: DESIGN_NAMES[design], series: DESIGNS.indexOf(design), values };
}

/** The result in a sentence: each of the other designs over the parsing dispatcher. */
function leadOf({ cases }: HandoffResult): string {
  const range = (design: Design): string => {
    const gains = cases
      .flatMap(({ designs }) => designs.filter((one) => one.design === design))
      .map(({ gain }) => gain.median);
    return `${formatTimes(Math.min(...gains))} to ${formatTimes(Math.max(...gains))}`;
  };
  const isDisturbed = cases.some(({ designs }) => designs.some(({ foreign }) => foreign.isTooMuch));
  const doubt = isDisturbed ? ' Others used the processors meanwhile: measure again before relying on it.' : '';
  return (
    `Against a dispatcher that parses every chain and passes requests on through a locked queue, a dispatcher that only wakes serves ` +
    `${range('wake')} as many requests, and a worker that has the kick itself ${range('none')}. hvisor-tool's change #95 published 1.05x for the first step.${doubt}`
  );
}
