// bench/stress: the job messages of both threads.
import type { RingAreas } from '../../src/testing/index.ts';
import type { SharedMemory } from '../threads/shared-queue.ts';

/** Mutants: a side that does not look at the ring again before it sleeps; the watcher has to detect it. */
export const MUTATIONS = ['none', 'driver-forgets', 'device-forgets'] as const;
export type Mutation = (typeof MUTATIONS)[number];

export interface StressSetup {
  readonly memory: SharedMemory;
  readonly kickFd: number;
  readonly callFd: number;
  /** Readable when the device is to stop; the driver looks at `stop`. */
  readonly stopFd: number;
  readonly stop: SharedArrayBuffer;
  readonly driverWords: SharedArrayBuffer;
  readonly deviceWords: SharedArrayBuffer;
}

export interface StressJob {
  readonly seed: number;
  readonly requests: number;
  readonly features: bigint;
  readonly size: number;
  /** Where the ring's indices start. */
  readonly start: number;
  readonly addresses: RingAreas;
  readonly driverCpu: number;
  readonly deviceCpu: number;
  readonly mutation: Mutation;
}

export interface DeviceStressCounts {
  readonly batches: number;
  readonly kicksSeen: number;
}
