// bench/threads: what the thread that plays the driver is asked to do, and what it measured.

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
  /** It ends with whichever comes first. */
  readonly seconds: number;
  readonly requests: number;
  /** After so long without a completion from a device that sleeps and was not rung, count a lost kick and ring. */
  readonly nudgeAfterMs: number | undefined;
}

export interface DriverResult extends QueueResult {
  /** This thread's. */
  readonly cpuSeconds: number;
  /** Kicks that were never sent or never seen, found by `nudgeAfterMs`. */
  readonly lostKicks: number;
}
