// bench: the result of `bench blk`: each round of each back end, and a summary of the rounds. The JSON is this object.
import { createHistogram } from 'node:perf_hooks';
import { countErrors, type LoadErrors, type LoadSpec, newErrors, type QueueResult } from './load/load-spec.ts';
import type { Machine } from './machine.ts';
import type { Cache } from './page-cache.ts';
import type { ProcessorUse } from './processor-use.ts';
import { type Summary, summarize } from './statistics.ts';

/** One measurement. */
export interface Round {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p9999Us: number;
  readonly kicks: number;
  readonly calls: number;
  readonly errors: LoadErrors;
  readonly frontEndInvoluntarySwitches: number;
  readonly processors: ProcessorUse;
}

export interface BackEndResult {
  readonly name: string;
  /** The command line; undefined for a back end that ran already. */
  readonly command: readonly string[] | undefined;
  readonly frontEndCpus: readonly number[];
  readonly backEndCpu: number | undefined;
  readonly rounds: readonly Round[];
  readonly summary: RoundSummary;
}

export interface RoundSummary {
  readonly requestsPerSecond: Summary;
  readonly bytesPerSecond: Summary;
  readonly p50Us: Summary;
  readonly p99Us: Summary;
  readonly p9999Us: Summary;
  readonly kicksPerThousand: Summary;
  readonly callsPerThousand: Summary;
  /** Processors the back end used, and its seconds for a million requests; undefined where its process is unknown. */
  readonly backEndCpus: Summary | undefined;
  readonly backEndSecondsPerMillion: Summary | undefined;
  readonly errors: number;
}

export interface CaseResult {
  readonly name: string;
  readonly load: LoadSpec;
  /** Absent: as each back end does by default. */
  readonly cache?: Cache;
  readonly backEnds: readonly BackEndResult[];
  /** Why a peer is missing, a line each. */
  readonly missing: readonly string[];
  /** Name of the peer with the highest median, if there are peers. */
  readonly bestPeer: string | undefined;
  /** Median of the first back end's requests per second over the best peer's. */
  readonly ratio: number | undefined;
  /** The same ratio in each round, between neighbours in time. */
  readonly roundRatios: Summary | undefined;
  /**
   * How many times less the first back end has than the same peer, by medians: of p99.99, and of processor time for a
   * request where both are known. 1: as much.
   */
  readonly p9999Ratio: number | undefined;
  readonly processorRatio: number | undefined;
}

export interface BlkBenchResult {
  readonly machine: Machine;
  readonly diskBytes: number | undefined;
  readonly cases: readonly CaseResult[];
  /** What to know about the disk: a line each. */
  readonly notes: readonly string[];
  /** Cases that failed after another one was measured: a line each. */
  readonly failed: readonly string[];
}

/** Adds up what a round's queues measured. */
export function roundOf(queues: readonly QueueResult[], blockBytes: number, processors: ProcessorUse): Round {
  const latency = createHistogram({ lowest: 1, highest: 60e9, figures: 3 });
  const errors = newErrors();
  for (const queue of queues) {
    latency.add(queue.latency);
    for (const kind of ['status', 'id', 'length', 'data', 'stall'] as const) errors[kind] += queue.errors[kind];
    if (queue.errors.first !== undefined) errors.first ??= queue.errors.first;
  }
  const sum = (value: (queue: QueueResult) => number): number => queues.reduce((all, queue) => all + value(queue), 0);
  const requestsPerSecond = sum(({ requests, elapsedMs }) => (elapsedMs > 0 ? (requests / elapsedMs) * 1000 : 0));
  const us = (percentile: number): number => (latency.count === 0 ? 0 : latency.percentile(percentile) / 1000);
  return {
    requests: sum(({ requests }) => requests),
    requestsPerSecond,
    bytesPerSecond: requestsPerSecond * blockBytes,
    p50Us: us(50),
    p99Us: us(99),
    p9999Us: us(99.99),
    kicks: sum(({ kicks }) => kicks),
    calls: sum(({ calls }) => calls),
    errors,
    frontEndInvoluntarySwitches: sum(({ involuntarySwitches }) => involuntarySwitches),
    processors,
  };
}

export function summarizeRounds(rounds: readonly Round[]): RoundSummary {
  const of = (value: (round: Round) => number): Summary => summarize(rounds.map(value));
  const known = rounds.every(({ processors }) => processors.backEnd !== undefined);
  const per = (count: number, { requests }: Round, unit: number): number => (count * unit) / Math.max(1, requests);
  return {
    requestsPerSecond: of((round) => round.requestsPerSecond),
    bytesPerSecond: of((round) => round.bytesPerSecond),
    p50Us: of((round) => round.p50Us),
    p99Us: of((round) => round.p99Us),
    p9999Us: of((round) => round.p9999Us),
    kicksPerThousand: of((round) => per(round.kicks, round, 1e3)),
    callsPerThousand: of((round) => per(round.calls, round, 1e3)),
    backEndCpus: known ? of(({ processors }) => processors.backEnd ?? 0) : undefined,
    backEndSecondsPerMillion: known ? of((round) => per(round.processors.backEndSeconds ?? 0, round, 1e6)) : undefined,
    errors: rounds.reduce((all, { errors }) => all + countErrors(errors), 0),
  };
}

/** @param backEnds the first is the one that is compared; the others are peers. */
export function caseResult(
  name: string,
  load: LoadSpec,
  backEnds: readonly BackEndResult[],
  missing: readonly string[],
  cache?: Cache,
): CaseResult {
  const rate = (one: RoundSummary): number => one.requestsPerSecond.median;
  const [first, ...peers] = backEnds;
  const best = peers.toSorted((a, b) => rate(b.summary) - rate(a.summary))[0];
  const over = (above?: number, below?: number): number | undefined =>
    above !== undefined && below ? above / below : undefined;
  const [ours, theirs] = [best && first?.summary, best?.summary];
  return {
    name,
    load,
    ...(cache && { cache }),
    backEnds,
    missing,
    bestPeer: best?.name,
    ratio: over(ours && rate(ours), theirs && rate(theirs)),
    roundRatios: best && first && ratiosOf(first.rounds, best.rounds),
    p9999Ratio: over(theirs?.p9999Us.median, ours?.p9999Us.median),
    processorRatio: over(theirs?.backEndSecondsPerMillion?.median, ours?.backEndSecondsPerMillion?.median),
  };
}

function ratiosOf(ours: readonly Round[], theirs: readonly Round[]): Summary | undefined {
  const ratios = ours.flatMap(({ requestsPerSecond }, round) => {
    const rate = theirs[round]?.requestsPerSecond;
    return rate ? [requestsPerSecond / rate] : [];
  });
  return ratios.length > 0 ? summarize(ratios) : undefined;
}
