// bench/doorbell: measures what a notification costs on each path between guest and host, round by round in turn.
import { readFileSync } from 'node:fs';
import { Kvm } from '../../src/kvm/index.ts';
import { thisMachine } from '../machine.ts';
import { keepProcessOn } from '../placement.ts';
import { disturbanceBetween, type ProcessorSample, sampleProcessors } from '../processor-use.ts';
import { type DoorbellResult, interruptRow, loopOf, type RingRow, ringRow, yardstickRow } from './doorbell-result.ts';
import { type BenchPlace, InterruptBench, RingBench } from './guest-bench.ts';
import { INTERRUPT_PATHS } from './interrupt-paths.ts';
import { Listener } from './listener.ts';
import type { ListenerKind } from './listener-worker.ts';
import { EMPTY_LOOP, RING_PATHS, ringPayload } from './ring-paths.ts';
import { Yardstick } from './yardstick.ts';

export interface DoorbellOptions {
  /** The most rounds. */
  readonly rounds: number;
  /** No round but the first is started that would end later than this. */
  readonly limitMs: number;
  /** Runs of one path in a round, a few milliseconds each. */
  readonly runs: number;
  /**
   * Runs of 1000 exits before the measured ones, until the loop's machine code is optimized. V8 takes some 40,000 exits
   * for that. Many runs, not one long one, so that the code between two runs is compiled as well.
   */
  readonly warmUpRuns: number;
  /** The processor of the guest, and the one of the listening or writing thread. */
  readonly vcpuCpu: number;
  readonly listenerCpu: number;
  /** Called with a line that says what is being done. */
  readonly onProgress?: (line: string) => void;
  readonly signal?: AbortSignal;
}

const LISTENERS: readonly ListenerKind[] = ['nobody', 'epoll', 'polling'];
/** Runs in C for each run in TypeScript, which has three listeners and so more tries. */
const C_RUNS = 4;
/** The paths that are measured in C as well: the exit loops. */
const YARDSTICK_PATHS: readonly string[] = ['exit-mmio', 'exit-pio'];

/** The guests and threads that are measured, started. */
interface Benches {
  readonly listener: Listener;
  readonly loop: RingBench;
  readonly rings: readonly RingBench[];
  readonly interrupts: readonly InterruptBench[];
  readonly yardstick: Yardstick | string;
  /** µs in C, round by round, by path; and the processor time of the C program. */
  readonly cUs: Map<string, number[]>;
  cSeconds: number;
}

/** Measures, and removes what it made. Throws SystemError where KVM cannot be used, and the signal's reason. */
export async function benchDoorbell(options: DoorbellOptions): Promise<DoorbellResult> {
  const { rounds, limitMs, onProgress, signal } = options;
  const startedMs = performance.now();
  using kvm = Kvm.open();
  await using stack = new AsyncDisposableStack();
  // A thread inherits the processors of the one that starts it: compilers and collectors stay off the guest's.
  keepProcessOn(options.listenerCpu);
  const benches = await start({ kvm, cpu: options.vcpuCpu, warmUpRuns: options.warmUpRuns, stack }, options);
  const before = sampleProcessors(undefined);
  for (let round = 1, roundMs = 0; round <= rounds; round++) {
    const roundStartedMs = performance.now();
    if (round > 1 && roundStartedMs + roundMs - startedMs > limitMs) break;
    await measureRound(benches, options.runs, (name) => {
      signal?.throwIfAborted();
      onProgress?.(`round ${round} of ${rounds}: ${name}`);
    });
    roundMs = performance.now() - roundStartedMs;
  }
  return resultOf(benches, foreignSince(before, benches.cSeconds), options);
}

async function start(place: BenchPlace, { listenerCpu, onProgress, signal }: DoorbellOptions): Promise<Benches> {
  const { stack } = place;
  const begin = (name: string): void => {
    signal?.throwIfAborted();
    onProgress?.(`starting: ${name}`);
  };
  const listener = stack.use(new Listener(listenerCpu));
  const yardstick = await Yardstick.build(place.cpu);
  if (typeof yardstick !== 'string') stack.use(yardstick);
  const rings: RingBench[] = [];
  for (const path of [EMPTY_LOOP, ...RING_PATHS]) {
    begin(path.name);
    rings.push(await RingBench.start(path, place));
  }
  const interrupts: InterruptBench[] = [];
  for (const path of INTERRUPT_PATHS) {
    begin(path.name);
    interrupts.push(await InterruptBench.start(path, place));
  }
  const loop = rings.shift() as RingBench;
  return { listener, loop, rings, interrupts, yardstick, cUs: new Map(), cSeconds: 0 };
}

async function measureRound(benches: Benches, runs: number, step: (name: string) => void): Promise<void> {
  const { listener, loop, rings, interrupts } = benches;
  step(loop.path.name);
  await loop.round(listener, 'nobody', runs);
  for (const bench of rings) {
    for (const kind of LISTENERS) {
      step(`${bench.path.name}, ${kind}`);
      await bench.round(listener, kind, runs);
    }
    if (YARDSTICK_PATHS.includes(bench.path.key)) await measureInC(benches, bench, runs);
  }
  for (const bench of interrupts) {
    step(bench.path.name);
    await bench.round();
  }
}

async function measureInC(benches: Benches, { path, count }: RingBench, runs: number): Promise<void> {
  const { yardstick, cUs } = benches;
  if (typeof yardstick === 'string') return;
  const startedMs = performance.now();
  const us = await yardstick.measure(ringPayload(path), count, C_RUNS * runs);
  benches.cSeconds += (performance.now() - startedMs) / 1000;
  cUs.set(path.key, [...(cUs.get(path.key) ?? []), us]);
}

/** Processors that were used by neither this process nor the program in C. */
function foreignSince(before: ProcessorSample, cSeconds: number): number {
  const { seconds, foreignSeconds } = disturbanceBetween(before, sampleProcessors(undefined));
  return Math.max(0, (foreignSeconds - cSeconds) / seconds);
}

function resultOf(benches: Benches, foreign: number, { vcpuCpu, listenerCpu }: DoorbellOptions): DoorbellResult {
  const { loop, rings, interrupts, yardstick, cUs } = benches;
  const loopUs = loopOf(loop.rounds.nobody);
  const rows = rings.flatMap(({ path: { key, name, in2009 }, rounds }) =>
    LISTENERS.map((listener) =>
      // In 2009 nothing listened either.
      ringRow({ key, name, listener, in2009: listener === 'nobody' ? in2009 : undefined }, rounds[listener], loopUs),
    ),
  );
  const inC = (row: RingRow) => row.listener === 'nobody' && cUs.has(row.key);
  return {
    machine: { ...thisMachine(), isSoftware: isSoftware() },
    vcpuCpu,
    listenerCpu,
    foreign,
    loopUs,
    rings: rows,
    interrupts: interrupts.map(({ path, rounds }) => interruptRow(path, rounds)),
    yardstick:
      typeof yardstick === 'string'
        ? yardstick
        : rows.filter(inC).map((row) => yardstickRow(row, cUs.get(row.key) as number[])),
  };
}

/** A KVM on a processor without virtualization emulates its guests. */
function isSoftware(): boolean {
  const [, flags = ''] = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? [];
  return !/\b(vmx|svm)\b/.test(flags);
}
