// bench/load: what passes between the main thread and a queue's thread.
import type { LoadSpec, QueueResult } from './load-spec.ts';
import type { QueuePlan } from './queue-plan.ts';

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
