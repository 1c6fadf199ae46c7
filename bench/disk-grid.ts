// bench: the cells of `bench blk --suite disk` as tables with a row for each cell, ours beside the best peer.
import type { BackEndResult, CaseResult, RoundSummary } from './blk-result.ts';
import { formatCount, formatGibibytes, formatMicros, formatTimes } from './figures.ts';
import { isLarge } from './load/load-spec.ts';
import { FOREIGN_MAX } from './processor-use.ts';
import type { Summary } from './statistics.ts';
import type { Figures } from './text/table.ts';

const COST_RATIOS = 'p99.99 and CPU against the same peer: how many times less.';

export interface Grid {
  readonly title: string;
  readonly figures: Figures;
  /** How to read it. */
  readonly remark: string;
}

/** Throughput, then latency and cost. */
export function cellGrids(cases: readonly CaseResult[]): Grid[] {
  const rates = {
    title: 'Throughput',
    figures: { head: rateHead(cases), rows: cases.map(rateRow) },
    remark: 'In brackets: the worst and the best round. GiB a second from 64K on.',
  };
  const costs = {
    title: 'Latency and cost',
    figures: { head: costHead(cases), rows: cases.map(costRow) },
    remark: `µs. CPU: processor time of the back end for a request. ${hasPeers(cases) ? COST_RATIOS : ''}`.trim(),
  };
  return [rates, costs];
}

/** The peer with the most requests a second. */
function bestOf({ backEnds, bestPeer }: CaseResult): BackEndResult | undefined {
  return backEnds.find(({ name }, i) => i > 0 && name === bestPeer);
}

function hasPeers(cases: readonly CaseResult[]): boolean {
  return cases.some(({ bestPeer }) => bestPeer !== undefined);
}

function rateHead(cases: readonly CaseResult[]): string[] {
  const ours = cases[0]?.backEnds[0]?.name ?? '';
  const head = ['cell', `${ours}, a second`];
  return hasPeers(cases) ? [...head, 'best peer', 'its rate', 'ratio'] : head;
}

function rateRow(one: CaseResult): string[] {
  const best = bestOf(one);
  const row = [one.name, rateOf(one, one.backEnds[0])];
  if (best === undefined) return row;
  const { ratio, roundRatios } = one;
  const range = roundRatios ? ` [${roundRatios.min.toFixed(2)}..${roundRatios.max.toFixed(2)}]` : '';
  return [...row, best.name, rateOf(one, best), `${times(ratio)}${range}${isDisturbed(one) ? ' !' : ''}`];
}

function rateOf({ load }: CaseResult, backEnd: BackEndResult | undefined): string {
  if (backEnd === undefined) return '';
  const { requestsPerSecond, bytesPerSecond } = backEnd.summary;
  return isLarge(load) ? spread(bytesPerSecond, formatGibibytes) : spread(requestsPerSecond, formatCount);
}

function spread({ median, min, max }: Summary, format: (value: number) => string): string {
  return `${format(median)} [${format(min)}..${format(max)}]`;
}

function costHead(cases: readonly CaseResult[]): string[] {
  if (!hasPeers(cases)) return ['cell', 'p50', 'p99', 'p99.99', 'CPU'];
  const figures = ['p50', 'p99', 'p99.99', 'CPU'].map((figure) => `${figure}: ours, peer`);
  return ['cell', ...figures, 'p99.99 ratio', 'CPU ratio'];
}

function costRow(one: CaseResult): string[] {
  const summaries = [one.backEnds[0], bestOf(one)].flatMap((backEnd) => backEnd?.summary ?? []);
  const cell = (of: (summary: RoundSummary) => Summary | undefined): string =>
    summaries.map((summary) => optionalMicros(of(summary))).join(', ');
  const row = [
    one.name,
    cell(({ p50Us }) => p50Us),
    cell(({ p99Us }) => p99Us),
    cell(({ p9999Us }) => p9999Us),
    cell(({ backEndSecondsPerMillion }) => backEndSecondsPerMillion),
  ];
  return summaries.length > 1 ? [...row, times(one.p9999Ratio), times(one.processorRatio)] : row;
}

/** Seconds for a million requests are µs for one. */
function optionalMicros(summary: Summary | undefined): string {
  return summary === undefined ? '-' : formatMicros(summary.median);
}

function times(ratio: number | undefined): string {
  return ratio === undefined ? '-' : formatTimes(ratio);
}

function isDisturbed({ backEnds }: CaseResult): boolean {
  const rounds = backEnds.flatMap((backEnd) => backEnd.rounds);
  return rounds.some(({ processors }) => processors.foreign + processors.stolen > FOREIGN_MAX);
}
