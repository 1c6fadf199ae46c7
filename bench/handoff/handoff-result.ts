// bench/handoff: the result of `bench handoff`: every round, their summary, the ratio to the old design.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { countErrors, type LoadErrors } from '../load/load-spec.ts';
import type { Machine } from '../machine.ts';
import { type Disturbance, type Foreign, foreignOver } from '../processor-use.ts';
import { type Summary, summarize } from '../statistics.ts';
import type { DriverResult } from '../threads/driver-job.ts';
import type { HandoffLoad, PublishedHandoff } from './handoff-cases.ts';
import type { Design, HandoffCounts, HandoffCpus } from './handoff-job.ts';

export interface HandoffRound {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Processor time in µs and wake-ups for each request, of worker and dispatcher together, and of the driver. */
  readonly backEndCpuUs: number;
  readonly driverCpuUs: number;
  readonly backEndWakeUps: number;
  readonly driverWakeUps: number;
  readonly involuntarySwitches: number;
  readonly errors: LoadErrors;
  readonly disturbance: Disturbance;
}

/** A round with all its latencies. */
export interface HandoffMeasurement {
  readonly round: HandoffRound;
  readonly latency: RecordableHistogram;
}

export interface DesignResult {
  readonly design: Design;
  readonly rounds: readonly HandoffRound[];
  readonly requestsPerSecond: Summary;
  readonly bytesPerSecond: Summary;
  readonly backEndCpuUs: Summary;
  readonly driverCpuUs: Summary;
  readonly backEndWakeUps: Summary;
  readonly driverWakeUps: Summary;
  /** Percentiles of all requests of all rounds, and how many requests those are. */
  readonly requests: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p9999Us: number;
  /** The 99th percentile round by round: shows whether a difference between designs is more than spread. */
  readonly p99OfRounds: Summary;
  /** Rate over that of the parsing dispatcher, round by round. */
  readonly gain: Summary;
  readonly foreign: Foreign;
  readonly published: PublishedHandoff | undefined;
  readonly errors: number;
}

export interface HandoffCase {
  readonly load: HandoffLoad;
  readonly designs: readonly DesignResult[];
}

export interface HandoffResult {
  readonly machine: Machine;
  readonly cpus: HandoffCpus;
  readonly diskBytes: number;
  readonly rounds: number;
  readonly cases: readonly HandoffCase[];
}

/** @param served what worker and dispatcher counted. */
export function handoffMeasurement(
  load: HandoffLoad,
  driver: DriverResult,
  served: readonly HandoffCounts[],
  disturbance: Disturbance,
): HandoffMeasurement {
  const { requests, elapsedMs, latency, errors } = driver;
  const sum = (value: (one: HandoffCounts) => number): number => served.reduce((all, one) => all + value(one), 0);
  const perSecond = elapsedMs > 0 ? (requests / elapsedMs) * 1000 : 0;
  const us = (percentile: number): number => (latency.count === 0 ? 0 : latency.percentile(percentile) / 1000);
  const done = Math.max(
    1,
    sum((one) => one.requests),
  );
  const driven = Math.max(1, requests);
  const round: HandoffRound = {
    requests,
    requestsPerSecond: perSecond,
    bytesPerSecond: perSecond * load.blockBytes,
    p50Us: us(50),
    p99Us: us(99),
    backEndCpuUs: (sum((one) => one.cpuSeconds) / done) * 1e6,
    driverCpuUs: (driver.cpuSeconds / driven) * 1e6,
    backEndWakeUps: sum((one) => one.wakeUps) / done,
    driverWakeUps: driver.calls / driven,
    involuntarySwitches: driver.involuntarySwitches + sum((one) => one.involuntarySwitches),
    errors,
    disturbance,
  };
  return { round, latency };
}

/** @param baseline the rounds of the parsing dispatcher, neighbours in time of these. */
export function designResult(
  load: HandoffLoad,
  design: Design,
  measurements: readonly HandoffMeasurement[],
  baseline: readonly HandoffMeasurement[],
): DesignResult {
  const rounds = measurements.map(({ round }) => round);
  const all = createHistogram({ lowest: 1, highest: 60e9, figures: 3 });
  for (const { latency } of measurements) all.add(latency);
  const of = (value: (round: HandoffRound) => number): Summary => summarize(rounds.map(value));
  const us = (percentile: number): number => (all.count === 0 ? 0 : all.percentile(percentile) / 1000);
  const gains = rounds.map(
    ({ requestsPerSecond }, i) => requestsPerSecond / Math.max(1e-9, baseline[i]?.round.requestsPerSecond ?? 0),
  );
  return {
    design,
    rounds,
    requestsPerSecond: of((round) => round.requestsPerSecond),
    bytesPerSecond: of((round) => round.bytesPerSecond),
    backEndCpuUs: of((round) => round.backEndCpuUs),
    driverCpuUs: of((round) => round.driverCpuUs),
    backEndWakeUps: of((round) => round.backEndWakeUps),
    driverWakeUps: of((round) => round.driverWakeUps),
    requests: rounds.reduce((sum, { requests }) => sum + requests, 0),
    p50Us: us(50),
    p99Us: us(99),
    p9999Us: us(99.99),
    p99OfRounds: of((round) => round.p99Us),
    gain: summarize(gains),
    foreign: foreignOver(rounds.map(({ disturbance }) => disturbance)),
    published: design === 'none' ? undefined : load.published?.[design],
    errors: rounds.reduce((sum, { errors }) => sum + countErrors(errors), 0),
  };
}
