// bench/doorbell: one path of the benchmark with its guest: the rings of a round, and the results of the rounds.
import type { Kvm } from '../../src/kvm/index.ts';
import { installHandlers } from '../../src/testing/interrupt-payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import type { RingRound } from './doorbell-result.ts';
import { type InterruptPath, interruptPayload, registerInterrupt } from './interrupt-paths.ts';
import { type InterruptRun, runInterrupts } from './interrupt-run.ts';
import type { Listener } from './listener.ts';
import type { ListenerKind } from './listener-worker.ts';
import { type RingPath, registerDoorbells, ringPayload } from './ring-paths.ts';
import { RingThread } from './ring-thread.ts';

export interface BenchPlace {
  readonly kvm: Kvm;
  /** The guests' processor. */
  readonly cpu: number;
  /** Runs before an exit loop is measured. */
  readonly warmUpRuns: number;
  /** The guests are added to it, and stop with it. */
  readonly stack: AsyncDisposableStack;
}

/**
 * Roughly how long one run takes: shorter than the time slice of a thread that just woke up. A run in which the guest
 * lost its processor measures other work: it is discarded and repeated, up to a limit.
 */
const RUN_MS = 2.5;
const TRIES_PER_RUN = 4;
const WARM_UP_RINGS = 1000;
const CALIBRATION_RINGS = 250;
const CALIBRATION_RUNS = 4;

/** Rings of one path; the same guest rings for every kind of listener. */
export class RingBench {
  readonly path: RingPath;
  /** Rings of a run. */
  readonly count: number;
  readonly rounds: { readonly [kind in ListenerKind]: RingRound[] } = { nobody: [], epoll: [], polling: [] };
  readonly #thread: RingThread;

  private constructor(path: RingPath, thread: RingThread, count: number) {
    this.path = path;
    this.#thread = thread;
    this.count = count;
  }

  static async start(path: RingPath, { kvm, cpu, warmUpRuns, stack }: BenchPlace): Promise<RingBench> {
    const guest = new PayloadGuest(kvm, ringPayload(path), { irqchip: true });
    const register = RingThread.start(guest, cpu, (bell) => registerDoorbells(path, guest.vm.ioeventfds, bell));
    const thread = stack.use(await register);
    for (let i = 0; path.exits && i < warmUpRuns; i++) await thread.run(WARM_UP_RINGS);
    const us: number[] = [];
    for (let i = 0; i < CALIBRATION_RUNS; i++)
      us.push((await thread.run(CALIBRATION_RINGS)).elapsedMs / CALIBRATION_RINGS);
    return new RingBench(path, thread, Math.max(CALIBRATION_RINGS, Math.round(RUN_MS / Math.min(...us))));
  }

  /** Adds a round of `runs` runs. */
  async round(listener: Listener, kind: ListenerKind, runs: number): Promise<void> {
    const good: RingRound[] = [];
    const bad: RingRound[] = [];
    for (let tries = 0; tries < TRIES_PER_RUN * runs && good.length < runs; tries++) {
      const run = await this.#run(listener, kind);
      (run.disturbed ? bad : good).push(run);
    }
    this.rounds[kind].push(sumOf(good.length > 0 ? good : bad));
  }

  async #run(listener: Listener, kind: ListenerKind): Promise<RingRound> {
    const { bell } = this.#thread;
    bell.clear();
    await listener.listen(bell, kind);
    const { elapsedMs, exits, cpuSeconds, involuntarySwitches } = await this.#thread.run(this.count);
    const { wakes, cpuSeconds: listenerCpuSeconds } = await listener.stop();
    const disturbed = involuntarySwitches > 0;
    const bestUs = (1000 * elapsedMs) / this.count;
    return { rings: this.count, bestUs, elapsedMs, exits, wakes, cpuSeconds, listenerCpuSeconds, disturbed };
  }
}

function sumOf(runs: readonly RingRound[]): RingRound {
  return runs.reduce((sum, run) => ({
    rings: sum.rings + run.rings,
    bestUs: Math.min(sum.bestUs, run.bestUs),
    elapsedMs: sum.elapsedMs + run.elapsedMs,
    exits: sum.exits + run.exits,
    wakes: sum.wakes + run.wakes,
    cpuSeconds: sum.cpuSeconds + run.cpuSeconds,
    listenerCpuSeconds: sum.listenerCpuSeconds + run.listenerCpuSeconds,
    disturbed: sum.disturbed,
  }));
}

/** Interrupts of a round, by kind. */
const INTERRUPTS = { handler: 100, burst: 20_000, circle: 200 } as const;

export class InterruptBench {
  readonly path: InterruptPath;
  readonly rounds: InterruptRun[] = [];
  readonly #thread: RingThread;

  private constructor(path: InterruptPath, thread: RingThread) {
    this.path = path;
    this.#thread = thread;
  }

  static async start(path: InterruptPath, { kvm, cpu, stack }: BenchPlace): Promise<InterruptBench> {
    const guest = new PayloadGuest(kvm, interruptPayload(path.route), { irqchip: true });
    installHandlers(guest);
    const thread = stack.use(await RingThread.start(guest, cpu, (bell) => registerInterrupt(path, guest.vm, bell)));
    return new InterruptBench(path, thread);
  }

  async round(): Promise<void> {
    this.rounds.push(await runInterrupts(this.#thread, this.path, INTERRUPTS[this.path.kind]));
    // A guest that waits for interrupts in a loop would occupy the processor of the others.
    await this.#thread.go(0, 'sleep');
  }
}
