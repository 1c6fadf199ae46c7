// bench/load: the description of a load, and the result of running it.
import type { RecordableHistogram } from 'node:perf_hooks';
import type { QueuePlan } from './queue-plan.ts';

export const OPERATIONS = ['randread', 'read', 'randwrite', 'write', 'mixed', 'verify'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** How to wait for completions: `poll` the used ring, or sleep until a `call` of the device. */
export const WAITS = ['poll', 'call'] as const;
export type Wait = (typeof WAITS)[number];

export interface LoadSpec {
  readonly operation: Operation;
  /** Bytes of a request: a multiple of 512. */
  readonly blockBytes: number;
  /** Requests in flight on each queue. */
  readonly depth: number;
  /** Queues, each with a thread of its own. */
  readonly queues: number;
  readonly wait: Wait;
  /** Requests a second over all queues, each made when it is due; 0: none. Absent: queues are kept full. */
  readonly rate?: number;
  readonly seconds: number;
  /** Time before the measurement starts, for page faults and compilers, which are not measured. */
  readonly warmupSeconds: number;
  /** Whether to use EVENT_IDX where the device offers it. */
  readonly eventIdx: boolean;
  /** Seed of random blocks and patterns: the same seed, the same load. */
  readonly seed: number;
}

export const DEFAULT_LOAD: LoadSpec = {
  operation: 'randread',
  blockBytes: 4096,
  depth: 64,
  queues: 1,
  wait: 'call',
  seconds: 2,
  warmupSeconds: 0.5,
  eventIdx: true,
  seed: 1,
};

/** Requests of this size or more are measured in bytes a second. */
const LARGE_BYTES = 64 * 1024;

export function isLarge({ blockBytes }: LoadSpec): boolean {
  return blockBytes >= LARGE_BYTES;
}

/** Errors by kind. `first` describes the first one. */
export interface LoadErrors {
  /** Status bytes that were not VIRTIO_BLK_S_OK. */
  status: number;
  /** Used elements that name no request in flight. */
  id: number;
  /** Used lengths that were not what the device wrote; `verify` looks at them. */
  length: number;
  /** Blocks that did not hold what was written; `verify` looks at them. */
  data: number;
  /** The device used nothing for five seconds with requests in flight: the run ended there. */
  stall: number;
  first?: string;
}

/** What one queue's thread measured. */
export interface QueueResult {
  readonly requests: number;
  readonly elapsedMs: number;
  /** From making a request available to finding it used, in ns. */
  readonly latency: RecordableHistogram;
  readonly kicks: number;
  readonly calls: number;
  readonly errors: LoadErrors;
  /** Times this thread lost its processor to another. */
  readonly involuntarySwitches: number;
}

export function newErrors(): LoadErrors {
  return { status: 0, id: 0, length: 0, data: 0, stall: 0 };
}

export function countErrors(errors: LoadErrors): number {
  return errors.status + errors.id + errors.length + errors.data + errors.stall;
}

/** The workerData of a queue's thread. The descriptors belong to this process and stay open while the thread runs. */
export interface LoadJob {
  readonly spec: LoadSpec;
  readonly plan: QueuePlan;
  readonly queue: number;
  readonly capacityBytes: number;
  readonly memoryFd: number;
  readonly memoryBytes: number;
  readonly guestBase: number;
  readonly kickFd: number;
  readonly callFd: number;
  readonly eventIdx: boolean;
  readonly cpu: number | undefined;
}

/** `measuring` when the warm-up is over; then `done`, or an `error` event of the worker. */
export type LoadMessage = { readonly kind: 'measuring' } | { readonly kind: 'done'; readonly result: QueueResult };
