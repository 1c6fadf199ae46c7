// Cellar: what a queue counts of itself. Plain numbers, written by the owner thread only.

export interface QueueCounters {
  /** Requests given back to the driver. */
  requests: number;
  /** Times completions were shown to the driver: requests / batches is how well they were batched. */
  batches: number;
  /** Notifications sent to the driver: batches - calls were saved. */
  calls: number;
  /** Notifications received from the driver. */
  kicks: number;
  /** When the last of either was, in ms of `performance.now()`; 0: never. */
  lastCallMs: number;
  lastKickMs: number;
}

export function newQueueCounters(): QueueCounters {
  return { requests: 0, batches: 0, calls: 0, kicks: 0, lastCallMs: 0, lastKickMs: 0 };
}

/** The same over several queues. */
export type QueueTotals = Readonly<Omit<QueueCounters, 'lastCallMs' | 'lastKickMs'>>;

export function totalOf(queues: readonly QueueCounters[]): QueueTotals {
  const total = { requests: 0, batches: 0, calls: 0, kicks: 0 };
  for (const queue of queues) {
    total.requests += queue.requests;
    total.batches += queue.batches;
    total.calls += queue.calls;
    total.kicks += queue.kicks;
  }
  return total;
}
