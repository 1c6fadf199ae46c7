// bench/notify: `bench notify`: the cost of waking a device by signal and by eventfd, asleep at once or after polling.
import { inTurns } from '../in-turns.ts';
import { thisMachine } from '../machine.ts';
import { BenchStore } from '../threads/bench-store.ts';
import { LOADS, type NotifyLoad, type NotifyVariant, POLL_NAMES, VARIANTS } from './notify-cases.ts';
import { compare } from './notify-comparison.ts';
import { type NotifyResult, type NotifyRound, type Placement, variantResult } from './notify-result.ts';
import { NotifyStage } from './notify-stage.ts';

export interface NotifyOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly fixedPollUs: number;
  readonly diskBytes: number;
  readonly deviceCpu: number;
  /** A processor on another core; undefined: this machine has none. */
  readonly driverCpu: number | undefined;
  readonly onProgress?: (line: string) => void;
  readonly signal?: AbortSignal;
}

interface Cell {
  readonly load: NotifyLoad;
  readonly placement: Placement;
  readonly variants: readonly { readonly variant: NotifyVariant; readonly rounds: NotifyRound[] }[];
}

/** Measures, and removes what it made. Throws what a thread threw, and the signal's reason. */
export async function benchNotify(options: NotifyOptions): Promise<NotifyResult> {
  const { diskBytes, fixedPollUs, rounds, seconds, signal, onProgress } = options;
  onProgress?.('filling the disk');
  using store = new BenchStore(diskBytes);
  await using stage = await NotifyStage.open(store, fixedPollUs);
  const cells = placementsOf(options).flatMap((placement) =>
    LOADS.map((load): Cell => ({ load, placement, variants: VARIANTS.map((variant) => ({ variant, rounds: [] })) })),
  );
  const steps = cells.flatMap((cell) => cell.variants.map((one) => ({ ...cell, ...one })));
  await inTurns({ rounds, steps, signal }, async ({ load, placement, variant, rounds: done }, round) => {
    onProgress?.(`round ${round} of ${rounds}: ${load.name}, ${placement.name}, ${POLL_NAMES[variant.poll]}`);
    const measured = await stage.round(load, placement, variant, round === 0 ? seconds / 3 : seconds);
    if (round > 0) done.push(measured);
  });
  const cases = cells.map(({ load, placement, variants }) => {
    const results = variants.map((one) => variantResult(load, one.variant, one.rounds));
    return { load, placement, variants: results, comparisons: compare(load, results) };
  });
  return { machine: thisMachine(), diskBytes, rounds, secondsPerRound: seconds, fixedPollUs, cases };
}

function placementsOf({ deviceCpu, driverCpu }: NotifyOptions): Placement[] {
  const same: Placement = { name: 'same core', deviceCpu, driverCpu: deviceCpu };
  return driverCpu === undefined ? [same] : [same, { name: 'across cores', deviceCpu, driverCpu }];
}
