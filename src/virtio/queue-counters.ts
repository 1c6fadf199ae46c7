// virtio: the counters of a queue. Plain numbers, written by the owner thread only.

/** The counters of one queue. */
export interface QueueCounters {
  /** Requests completed. */
  requests: number;
  /** Times that completions were published: requests / batches is the mean batch size. */
  batches: number;
  /** Notifications sent to the driver: batches - calls were suppressed. */
  calls: number;
  /** Notifications received from the driver. */
  kicks: number;
  /** Time of the last call and of the last kick, in ms of `performance.now()`; 0: never. */
  lastCallMs: number;
  lastKickMs: number;
}

export function newQueueCounters(): QueueCounters {
  return { requests: 0, batches: 0, calls: 0, kicks: 0, lastCallMs: 0, lastKickMs: 0 };
}

/** The sums over several queues. */
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
