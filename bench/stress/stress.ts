// bench/stress: drives the real ring between two threads, in many ways, and checks that no notification is lost.
import { SeededRandom } from '../../src/testing/index.ts';
import { chooseProcessors } from '../placement.ts';
import type { Mutation } from './stress-job.ts';
import { type EpisodeCounts, type Stall, StressedQueue } from './stressed-queue.ts';

export interface StressOptions {
  readonly requests: number;
  /** Seed of what the two sides do; how their threads interleave is not determined by it. */
  readonly seed: number;
  readonly mutation?: Mutation;
  /** The most time of a run. */
  readonly timeoutMs: number;
  readonly onProgress?: (line: string) => void;
}

export interface StressResult extends EpisodeCounts {
  readonly seconds: number;
  /** What was lost, which ended the run. */
  readonly stall: Stall | undefined;
}

const EPISODES = 16;

/** Runs episodes until all requests are done, something is lost, or time is up. Throws what a thread threw. */
export async function stress(options: StressOptions): Promise<StressResult> {
  const { requests, timeoutMs, mutation = 'none', onProgress } = options;
  await using queue = await StressedQueue.open();
  const random = new SeededRandom(options.seed);
  const [deviceCpu, otherCpu = deviceCpu] = chooseProcessors();
  const startedMs = performance.now();
  const ends: EpisodeCounts[] = [];
  let stall: Stall | undefined;
  for (let episode = 0; episode < EPISODES && stall === undefined; episode++) {
    const leftMs = timeoutMs - (performance.now() - startedMs);
    if (leftMs <= 0) break;
    const end = await queue.episode({
      requests: Math.ceil(requests / EPISODES),
      seed: random.uint32(),
      eventIdx: episode % 2 === 0,
      size: random.of([16, 256]),
      start: random.of([0, 65_530]),
      mutation,
      deviceCpu,
      // On two processors threads interleave within a few instructions; on one, wherever a thread is preempted.
      driverCpu: random.oneIn(4) ? deviceCpu : otherCpu,
      timeoutMs: leftMs,
    });
    ends.push(end.counts);
    stall = end.stall;
    onProgress?.(`episode ${episode + 1} of ${EPISODES}: ${sumOf(ends).requests} requests`);
  }
  return { ...sumOf(ends), seconds: (performance.now() - startedMs) / 1000, stall };
}

function sumOf(ends: readonly EpisodeCounts[]): EpisodeCounts {
  const sum = { requests: 0, kicks: 0, calls: 0, driverSleeps: 0, deviceSleeps: 0, batches: 0 };
  for (const key of Object.keys(sum) as (keyof EpisodeCounts)[]) for (const end of ends) sum[key] += end[key];
  return sum;
}
