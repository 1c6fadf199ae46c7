// bench/handoff: the job messages of dispatcher and worker, and their results.
import type { StoreDescription } from '../../src/index.ts';
import type { QueuePlan } from '../load/queue-plan.ts';
import type { SharedMemory } from '../threads/shared-queue.ts';

/**
 * `parse`: the dispatcher parses every chain and passes requests on. `wake`: it wakes the worker, which owns the ring.
 * `none`: the worker has the kick as well.
 */
export const DESIGNS = ['parse', 'wake', 'none'] as const;
export type Design = (typeof DESIGNS)[number];

/** The processor of each thread. */
export interface HandoffCpus {
  readonly worker: number;
  readonly driver: number;
  readonly dispatcher: number;
}

/** For dispatcher and worker alike. */
export interface HandoffSetup {
  readonly memory: SharedMemory;
  readonly store: StoreDescription;
  readonly kickFd: number;
  readonly callFd: number;
  readonly stop: SharedArrayBuffer;
  /** An eventfd, signalled with `stop`. */
  readonly stopFd: number;
  /** A RequestQueue of `requestsMax`. */
  readonly requests: SharedArrayBuffer;
  readonly requestsMax: number;
}

export interface HandoffJob {
  readonly design: Design;
  readonly plan: QueuePlan;
  readonly cpu: number;
  readonly eventIdx: boolean;
}

export interface HandoffCounts {
  /** Requests that this thread completed. */
  readonly requests: number;
  /** Times this thread came back from waiting. */
  readonly wakeUps: number;
  readonly cpuSeconds: number;
  readonly involuntarySwitches: number;
}
