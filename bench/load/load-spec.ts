// bench/load: what a load is, and what running it gives.
import type { RecordableHistogram } from 'node:perf_hooks';
import type { QueuePlan } from './queue-plan.ts';

export const OPERATIONS = ['randread', 'read', 'randwrite', 'write', 'mixed', 'verify'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** How completions are waited for: by looking, or asleep until the device calls. */
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
  /** Requests a second over all queues, made when they are due; 0: none at all. Otherwise a queue is kept full. */
  readonly rate?: number;
  readonly seconds: number;
  /** Time before the measurement starts: page faults and compilers are not what is measured. */
  readonly warmupSeconds: number;
  /** Whether to use EVENT_IDX where the device offers it. */
  readonly eventIdx: boolean;
  /** Where random blocks and patterns come from: the same seed, the same load. */
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

/** Errors by kind. `first` tells of the first one in full. */
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

/** Everything a queue's thread needs. The descriptors are of this process and outlive the thread. */
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
