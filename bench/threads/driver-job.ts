// bench/threads: the job message of the thread that acts as the driver, and its result.

import type { QueueResult } from '../load/load-spec.ts';
import type { QueuePlan } from '../load/queue-plan.ts';
import type { DoorbellAddress } from './doorbell.ts';
import type { SharedMemory } from './shared-queue.ts';

export interface DriverSetup {
  readonly memory: SharedMemory;
  readonly callFd: number;
}

export interface DriverJob {
  readonly plan: QueuePlan;
  readonly random: boolean;
  readonly diskBytes: number;
  readonly eventIdx: boolean;
  readonly seed: number;
  readonly cpu: number;
  readonly kick: DoorbellAddress;
  /** The job ends when the first bound is reached. */
  readonly seconds: number;
  readonly requests: number;
  /** After so long without a completion from a device that sleeps and was not rung, count a lost kick and ring. */
  readonly nudgeAfterMs: number | undefined;
}

export interface DriverResult extends QueueResult {
  /** Processor time of this thread. */
  readonly cpuSeconds: number;
  /** Kicks that were not sent or not received, detected by `nudgeAfterMs`. */
  readonly lostKicks: number;
}
