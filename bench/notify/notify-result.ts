// bench/notify: the result of `bench notify`: every round, their summary, the comparisons. The JSON is this object.
import { countErrors, type LoadErrors } from '../load/load-spec.ts';
import type { Machine } from '../machine.ts';
import { type Disturbance, type Foreign, foreignOver } from '../processor-use.ts';
import { type Summary, summarize } from '../statistics.ts';
import type { DriverResult } from '../threads/driver-job.ts';
import type { DeviceCounts } from './device-job.ts';
import { type Metric, type NotifyLoad, type NotifyVariant, type Poll, PUBLISHED } from './notify-cases.ts';

export interface NotifyRound {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Processor time in µs and wake-ups for each request, of either side. */
  readonly deviceCpuUs: number;
  readonly driverCpuUs: number;
  readonly deviceWakeUps: number;
  readonly driverWakeUps: number;
  readonly kicks: number;
  readonly calls: number;
  readonly involuntarySwitches: number;
  /** Counted for the forgetful device only. */
  readonly lostKicks: number;
  readonly errors: LoadErrors;
  readonly disturbance: Disturbance;
}

export interface VariantResult extends NotifyVariant {
  readonly rounds: readonly NotifyRound[];
  /** In the unit of the load's metric: requests a second, MiB a second, or the mean latency in µs. */
  readonly value: Summary;
  readonly deviceCpuUs: Summary;
  readonly driverCpuUs: Summary;
  readonly deviceWakeUps: Summary;
  readonly driverWakeUps: Summary;
  readonly foreign: Foreign;
  readonly published: number | undefined;
  readonly lostKicks: number;
  readonly errors: number;
}

export interface Placement {
  readonly name: 'same core' | 'across cores';
  readonly deviceCpu: number;
  readonly driverCpu: number;
}

/** Eventfd against signal, all else alike. */
export interface Comparison {
  readonly poll: Poll;
  /** How many times better eventfd was, round by round. */
  readonly gain: Summary;
  readonly publishedGain: number | undefined;
  /** Why it differs from what was published, or another remark. */
  readonly remark: string | undefined;
}

export interface NotifyCase {
  readonly load: NotifyLoad;
  readonly placement: Placement;
  readonly variants: readonly VariantResult[];
  readonly comparisons: readonly Comparison[];
}

export interface NotifyResult {
  readonly machine: Machine;
  readonly diskBytes: number;
  readonly rounds: number;
  readonly secondsPerRound: number;
  readonly fixedPollUs: number;
  readonly cases: readonly NotifyCase[];
}

export function notifyRound(
  blockBytes: number,
  driver: DriverResult,
  device: DeviceCounts,
  disturbance: Disturbance,
): NotifyRound {
  const { requests, elapsedMs, latency, kicks, calls, errors, lostKicks } = driver;
  const perSecond = elapsedMs > 0 ? (requests / elapsedMs) * 1000 : 0;
  const us = (ns: number): number => (latency.count === 0 ? 0 : ns / 1000);
  const served = Math.max(1, device.requests);
  const driven = Math.max(1, requests);
  return {
    requests,
    requestsPerSecond: perSecond,
    bytesPerSecond: perSecond * blockBytes,
    meanUs: us(latency.mean),
    p50Us: us(latency.percentile(50)),
    p99Us: us(latency.percentile(99)),
    deviceCpuUs: (device.cpuSeconds / served) * 1e6,
    driverCpuUs: (driver.cpuSeconds / driven) * 1e6,
    deviceWakeUps: device.wakeUps / served,
    driverWakeUps: calls / driven,
    kicks,
    calls: device.calls,
    involuntarySwitches: driver.involuntarySwitches + device.involuntarySwitches,
    lostKicks,
    errors,
    disturbance,
  };
}

/** The figure of a round that is compared. */
export function judgedValue(metric: Metric, round: NotifyRound): number {
  if (metric === 'latency') return round.meanUs;
  return metric === 'iops' ? round.requestsPerSecond : round.bytesPerSecond / 2 ** 20;
}

export function variantResult(load: NotifyLoad, variant: NotifyVariant, rounds: readonly NotifyRound[]): VariantResult {
  const of = (value: (round: NotifyRound) => number): Summary => summarize(rounds.map(value));
  return {
    ...variant,
    rounds,
    value: of((round) => judgedValue(load.metric, round)),
    deviceCpuUs: of((round) => round.deviceCpuUs),
    driverCpuUs: of((round) => round.driverCpuUs),
    deviceWakeUps: of((round) => round.deviceWakeUps),
    driverWakeUps: of((round) => round.driverWakeUps),
    foreign: foreignOver(rounds.map(({ disturbance }) => disturbance)),
    published: variant.forgetful ? undefined : PUBLISHED[load.metric][variant.poll]?.[variant.doorbell],
    lostKicks: rounds.reduce((sum, { lostKicks }) => sum + lostKicks, 0),
    errors: rounds.reduce((sum, { errors }) => sum + countErrors(errors), 0),
  };
}
