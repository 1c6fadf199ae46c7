// bench: a litmus test of two threads: each stores its word, then loads the other's. Can both load the old value?
import { once } from 'node:events';
import { moduleBeside, startThread } from '../src/sys/thread.ts';
import { chooseProcessors } from './placement.ts';

export interface LitmusOptions {
  readonly rounds: number;
  /** Whether the words are accessed by Atomics, a full barrier between store and load, or as plain elements. */
  readonly barrier: boolean;
}

export interface LitmusResult extends LitmusOptions {
  /** Rounds in which neither saw the other: a driver would not notify, and the device would sleep on a request. */
  readonly bothMissed: number;
  readonly seconds: number;
}

/** The workerData of both threads. Every word that both access has a cache line of its own. */
export interface LitmusJob extends LitmusOptions {
  readonly side: 0 | 1;
  readonly shared: SharedArrayBuffer;
  readonly cpu: number;
}

/** 32-bit words of two cache lines of 64 bytes: some processors fetch lines in pairs. */
export const LINE_WORDS = 32;
/** Rounds that are run before their outcome is read and their words are cleared. */
export const CHUNK_ROUNDS = 1024;

/** Words that the threads share: two counters of rounds, then two words and two outcomes for each round of a chunk. */
export const SHARED_WORDS = LINE_WORDS * (2 + 4 * CHUNK_ROUNDS);

/** Runs the rounds on two processors, if there are two; on one the outcome is always 0. Throws what a thread threw. */
export async function litmus(options: LitmusOptions): Promise<LitmusResult> {
  const shared = new SharedArrayBuffer(4 * SHARED_WORDS);
  const [cpu, otherCpu = cpu] = chooseProcessors();
  const program = moduleBeside('./litmus-thread', import.meta.url);
  const startedMs = performance.now();
  const threads = ([0, 1] as const).map((side) => {
    const workerData: LitmusJob = { ...options, side, shared, cpu: (side === 0 ? cpu : otherCpu) as number };
    return startThread(program, { workerData });
  });
  try {
    const counts = await Promise.all(threads.map((thread) => once(thread, 'message')));
    const bothMissed = counts.flat()[0] as number;
    return { ...options, bothMissed, seconds: (performance.now() - startedMs) / 1000 };
  } finally {
    // A thread that failed leaves the other waiting for it.
    for (const thread of threads) await thread.terminate();
  }
}
