// virtio: the counters of a queue, written by the owner thread only: plain numbers, or in memory that others read.

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
  /** Requests in flight when requests were last popped or published. */
  inFlight: number;
  /** Time of the last call and of the last kick, in ms of `performance.now()`; 0: never. */
  lastCallMs: number;
  lastKickMs: number;
}

export function newQueueCounters(): QueueCounters {
  return { requests: 0, batches: 0, calls: 0, kicks: 0, inFlight: 0, lastCallMs: 0, lastKickMs: 0 };
}

/** The sums over several queues. */
export type QueueTotals = Readonly<Omit<QueueCounters, 'inFlight' | 'lastCallMs' | 'lastKickMs'>>;

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

/** Latencies are counted by powers of two: the first bucket ends at 2^10 ns, about a microsecond, the last at 2^31 ns. */
const FIRST_POWER = 10;
const LAST_POWER = 31;
/** The upper bounds of the buckets, in ns; one more bucket counts what is longer. */
export const LATENCY_BOUNDS_NS: readonly number[] = Array.from(
  { length: LAST_POWER - FIRST_POWER + 1 },
  (_, i) => 2 ** (FIRST_POWER + i),
);
/** Where each counter is, in words. The buckets are last. */
const [REQUESTS, BATCHES, CALLS, KICKS, LAST_CALL, LAST_KICK, IN_FLIGHT, LATENCY_SUM, BUCKETS] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8,
] as const;

/** 64-bit words that the counters of one queue take. */
export const QUEUE_COUNTER_WORDS = BUCKETS + LATENCY_BOUNDS_NS.length + 1;

/**
 * The counters of a queue, with a histogram of its latency, in memory that several threads have. The owner thread writes
 * them with plain stores of 64 bits, so that counting costs no more than without; another thread reads each of them
 * whole, perhaps a moment late.
 */
export class SharedQueueCounters implements QueueCounters {
  readonly #words: Float64Array;

  /** @param words QUEUE_COUNTER_WORDS of them. */
  constructor(words: Float64Array) {
    this.#words = words;
  }

  get requests(): number {
    return this.#words[REQUESTS] as number;
  }

  set requests(count: number) {
    this.#words[REQUESTS] = count;
  }

  get batches(): number {
    return this.#words[BATCHES] as number;
  }

  set batches(count: number) {
    this.#words[BATCHES] = count;
  }

  get calls(): number {
    return this.#words[CALLS] as number;
  }

  set calls(count: number) {
    this.#words[CALLS] = count;
  }

  get kicks(): number {
    return this.#words[KICKS] as number;
  }

  set kicks(count: number) {
    this.#words[KICKS] = count;
  }

  get inFlight(): number {
    return this.#words[IN_FLIGHT] as number;
  }

  set inFlight(count: number) {
    this.#words[IN_FLIGHT] = count;
  }

  get lastCallMs(): number {
    return this.#words[LAST_CALL] as number;
  }

  set lastCallMs(ms: number) {
    this.#words[LAST_CALL] = ms;
  }

  get lastKickMs(): number {
    return this.#words[LAST_KICK] as number;
  }

  set lastKickMs(ms: number) {
    this.#words[LAST_KICK] = ms;
  }

  /** Counts a latency: a whole number of ns, 1 or more. */
  record(ns: number): void {
    const power = ns > 2 ** LAST_POWER ? LAST_POWER + 1 : 32 - Math.clz32(ns - 1);
    const at = BUCKETS + Math.max(0, power - FIRST_POWER);
    this.#words[at] = (this.#words[at] as number) + 1;
    this.#words[LATENCY_SUM] = (this.#words[LATENCY_SUM] as number) + ns;
  }

  /** Adds these latencies to `into`. */
  addLatency(into: LatencyCounts): void {
    into.sumNs += this.#words[LATENCY_SUM] as number;
    for (let i = 0; i < into.buckets.length; i++)
      into.buckets[i] = (into.buckets[i] ?? 0) + (this.#words[BUCKETS + i] ?? 0);
  }
}

/** A histogram: how many latencies were within each of LATENCY_BOUNDS_NS, and beyond the last one. */
export interface LatencyCounts {
  readonly buckets: number[];
  sumNs: number;
}

export function newLatencyCounts(): LatencyCounts {
  return { buckets: new Array(LATENCY_BOUNDS_NS.length + 1).fill(0), sumNs: 0 };
}
