// bench/doorbell: the result of the doorbell benchmark. Printed as JSON unchanged.
import assert from 'node:assert/strict';
import type { Machine } from '../machine.ts';
import { type Summary, summarize } from '../statistics.ts';
import type { InterruptPath } from './interrupt-paths.ts';
import type { InterruptRun } from './interrupt-run.ts';
import type { ListenerKind } from './listener-worker.ts';
import type { OldFigure } from './ring-paths.ts';

/** One round of a path with a listener: the sum of its runs. */
export interface RingRound {
  readonly rings: number;
  /** µs of a ring in its best run, the guest's loop included. */
  readonly bestUs: number;
  readonly elapsedMs: number;
  readonly exits: number;
  readonly wakes: number;
  /** Of the vCPU's thread, guest included, and of the listener. */
  readonly cpuSeconds: number;
  readonly listenerCpuSeconds: number;
  /** The guest lost its processor in every run. */
  readonly disturbed: boolean;
}

export interface RingRow {
  readonly key: string;
  readonly name: string;
  readonly listener: ListenerKind;
  readonly rounds: readonly RingRound[];
  /** µs the guest waits for one ring, without its loop, in each round that counts. */
  readonly usOfRounds: readonly number[];
  readonly us: Summary;
  /** Rings in a second, if the guest did nothing else. */
  readonly perSecond: number;
  readonly wakesPerThousand: number;
  readonly exitsPerThousand: number;
  /** Processor seconds for a million rings, without the loop's. */
  readonly cpuSecondsPerMillion: number;
  /** The same of 2009, where it was measured or extrapolated then. */
  readonly in2009: OldFigure | undefined;
  /** There is no round in which the guest kept its processor. */
  readonly disturbed: boolean;
}

export interface InterruptRow extends InterruptPath {
  readonly rounds: readonly InterruptRun[];
  readonly us: Summary;
  readonly handledPerThousand: number;
}

/** The exit loop in TypeScript and in C: µs of a ring, the guest's loop included, of the best run of each round. */
export interface YardstickRow {
  readonly key: string;
  readonly name: string;
  readonly usOfRounds: readonly number[];
  readonly us: Summary;
  readonly cUsOfRounds: readonly number[];
  readonly cUs: Summary;
  readonly ratio: number;
}

export interface DoorbellResult {
  readonly machine: Machine & {
    /** The processor has no virtualization: /dev/kvm is software that emulates the guest. */
    readonly isSoftware: boolean;
  };
  readonly vcpuCpu: number;
  readonly listenerCpu: number;
  /** Processors that other processes used meanwhile. */
  readonly foreign: number;
  /** µs of the guest's loop without a ring: subtracted from the rings below. */
  readonly loopUs: number;
  readonly rings: readonly RingRow[];
  readonly interrupts: readonly InterruptRow[];
  /** The rows; or, as text, why there are none. */
  readonly yardstick: readonly YardstickRow[] | string;
}

const median = (values: readonly number[]): number => summarize(values).median;

function usOf({ elapsedMs, rings }: RingRound): number {
  return (1000 * elapsedMs) / rings;
}

/** The rounds in which the guest kept its processor; all rounds, if there are none. */
function undisturbed(rounds: readonly RingRound[]): readonly RingRound[] {
  const good = rounds.filter(({ disturbed }) => !disturbed);
  return good.length > 0 ? good : rounds;
}

/** µs of the guest's loop: of its best run, so that no ring looks cheaper than it is. */
export function loopOf(rounds: readonly RingRound[]): number {
  return Math.min(...rounds.map(({ bestUs }) => bestUs));
}

/** Sums up the rounds of a path. */
export function ringRow(
  about: Pick<RingRow, 'key' | 'name' | 'listener' | 'in2009'>,
  rounds: readonly RingRound[],
  loopUs: number,
): RingRow {
  const good = undisturbed(rounds);
  const usOfRounds = good.map((round) => Math.max(0, usOf(round) - loopUs));
  const us = summarize(usOfRounds);
  const each = (value: (round: RingRound) => number): number => median(good.map((round) => value(round) / round.rings));
  return {
    ...about,
    rounds,
    usOfRounds,
    us,
    perSecond: us.median > 0 ? 1e6 / us.median : Number.POSITIVE_INFINITY,
    wakesPerThousand: 1000 * each(({ wakes }) => wakes),
    exitsPerThousand: 1000 * each(({ exits }) => exits),
    // The loop never waits: its time is processor time.
    cpuSecondsPerMillion: Math.max(0, 1e6 * each((round) => round.cpuSeconds + round.listenerCpuSeconds) - loopUs),
    disturbed: good.every(({ disturbed }) => disturbed),
  };
}

export function interruptRow(path: InterruptPath, rounds: readonly InterruptRun[]): InterruptRow {
  return {
    ...path,
    rounds,
    us: summarize(rounds.map(({ us }) => us)),
    handledPerThousand: median(rounds.map(({ handledPerThousand }) => handledPerThousand)),
  };
}

export function yardstickRow({ key, name, rounds }: RingRow, cUsOfRounds: readonly number[]): YardstickRow {
  const usOfRounds = rounds.map(({ bestUs }) => bestUs);
  const us = summarize(usOfRounds);
  const cUs = summarize(cUsOfRounds);
  return { key, name, usOfRounds, us, cUsOfRounds, cUs, ratio: us.median / cUs.median };
}

/** The row of a path with a listener; every result has all of them. */
export function rowOf({ rings }: DoorbellResult, key: string, listener: ListenerKind): RingRow {
  const found = rings.find((row) => row.key === key && row.listener === listener);
  assert(found !== undefined, `no row of ${key} with ${listener}`);
  return found;
}

/** How many times cheaper the ioeventfd is than leaving the guest, on one bus, with nobody listening. */
export function advantage(result: DoorbellResult, bus: 'mmio' | 'pio'): number {
  return rowOf(result, `exit-${bus}`, 'nobody').us.median / rowOf(result, `ioeventfd-${bus}`, 'nobody').us.median;
}
