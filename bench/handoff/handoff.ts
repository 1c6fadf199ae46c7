// bench/handoff: `bench handoff`: which thread should own a virtqueue: a worker, or a dispatcher that feeds it.
import { inTurns } from '../in-turns.ts';
import { thisMachine } from '../machine.ts';
import { BenchStore } from '../threads/bench-store.ts';
import { DESIGN_NAMES, HANDOFF_LOADS, type HandoffLoad } from './handoff-cases.ts';
import { DESIGNS, type Design, type HandoffCpus } from './handoff-job.ts';
import { designResult, type HandoffMeasurement, type HandoffResult } from './handoff-result.ts';
import { HandoffStage, type RoundBounds } from './handoff-stage.ts';

export interface HandoffOptions {
  readonly rounds: number;
  /** A round ends when the first bound is reached. */
  readonly bounds: RoundBounds;
  readonly diskBytes: number;
  readonly cpus: HandoffCpus;
  readonly onProgress?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Long enough for the compilers. */
const WARM_UP: RoundBounds = { seconds: 0.3, requests: 30_000 };

/** Measures, and removes what it made. Throws what a thread threw, and the signal's reason. */
export async function benchHandoff(options: HandoffOptions): Promise<HandoffResult> {
  const { rounds, bounds, diskBytes, cpus, signal, onProgress } = options;
  onProgress?.('filling the disk');
  using store = new BenchStore(diskBytes);
  await using stage = await HandoffStage.open(store, cpus);
  const steps = HANDOFF_LOADS.flatMap((load) =>
    DESIGNS.map((design) => ({ load, design, done: [] as HandoffMeasurement[] })),
  );
  await inTurns({ rounds, steps, signal }, async ({ load, design, done }, round) => {
    onProgress?.(`round ${round} of ${rounds}: ${load.name}, ${DESIGN_NAMES[design]}`);
    const measured = await stage.round(load, design, round === 0 ? shorterOf(WARM_UP, bounds) : bounds);
    if (round > 0) done.push(measured);
  });
  const doneBy = (load: HandoffLoad, design: Design): HandoffMeasurement[] =>
    steps.find((step) => step.load === load && step.design === design)?.done ?? [];
  const cases = HANDOFF_LOADS.map((load) => ({
    load,
    designs: DESIGNS.map((design) => designResult(load, design, doneBy(load, design), doneBy(load, 'parse'))),
  }));
  return { machine: thisMachine(), cpus, diskBytes, rounds, cases };
}

function shorterOf(a: RoundBounds, b: RoundBounds): RoundBounds {
  return { seconds: Math.min(a.seconds, b.seconds), requests: Math.min(a.requests, b.requests) };
}
