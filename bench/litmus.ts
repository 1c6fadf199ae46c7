// bench: the bare handshake between two threads: each stores its word, then loads the other's. May both loads come too early?
import { once } from 'node:events';
import { moduleBeside, startThread } from '../src/sys/thread.ts';
import { chooseProcessors } from './placement.ts';

export interface LitmusOptions {
  readonly rounds: number;
  /** Whether the words go through Atomics, which puts a full barrier between the store and the load, or are plain typed-array elements. */
  readonly barrier: boolean;
}

export interface LitmusResult extends LitmusOptions {
  /** Rounds in which neither saw the other: the driver does not notify, the device goes to sleep, and the request lies there. */
  readonly bothMissed: number;
  readonly seconds: number;
}

/** What each of the two threads is given. Every word that both touch has a cache line of its own. */
export interface LitmusJob extends LitmusOptions {
  readonly side: 0 | 1;
  readonly shared: SharedArrayBuffer;
  readonly cpu: number;
}

/** Words are 32 bits, lines are two of 64 bytes: some processors fetch them in pairs. */
export const LINE_WORDS = 32;
/** Rounds that are played before their outcome is read and their words are cleared. */
export const CHUNK_ROUNDS = 1024;

/** How many words the threads share: two counters of rounds played, then for each round of a chunk a word and an outcome a side. */
export const SHARED_WORDS = LINE_WORDS * (2 + 4 * CHUNK_ROUNDS);

/** Plays so many rounds, on two processors if there are two; on one the outcome is always 0. Throws what a thread threw. */
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
    // One that failed leaves the other waiting for it.
    for (const thread of threads) await thread.terminate();
  }
}
