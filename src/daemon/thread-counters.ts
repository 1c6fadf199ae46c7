// daemon: what one serving thread counts, in memory that the main thread reads without asking the thread.
import {
  BLOCK_KINDS,
  BLOCK_OUTCOMES,
  BlockCounts,
  type BlockKind,
  type BlockOutcome,
} from '../devices/blk/block-counts.ts';
import type { PollPolicy } from '../sys/pollable.ts';
import type { EventName } from '../virtio/log.ts';
import {
  type LatencyCounts,
  newLatencyCounts,
  QUEUE_COUNTER_WORDS,
  SharedQueueCounters,
} from '../virtio/queue-counters.ts';

/** The memory of one thread. `blocks`: of disks alone, the memory of a `BlockCounts`. */
export interface CounterMemory {
  readonly thread: SharedArrayBuffer;
  readonly blocks: SharedArrayBuffer | undefined;
}

/** What a queue has done, over all threads. */
export interface QueueCount {
  readonly queue: number;
  readonly requests: number;
  readonly batches: number;
  readonly calls: number;
  readonly kicks: number;
  readonly inFlight: number;
  readonly latency: LatencyCounts;
}

/** How often polling before a sleep found work, and how often it found none in time. */
export interface PollCount {
  readonly hits: number;
  readonly misses: number;
}

/** What a disk has done, by kind of request and outcome. */
export interface BlockCount {
  readonly kind: BlockKind;
  readonly outcome: BlockOutcome;
  readonly count: number;
}

/** Everything that a device counts in shared memory. */
export interface DeviceCounts {
  /** Queues that have been used. */
  readonly queues: readonly QueueCount[];
  readonly isConnected: boolean;
  /** 0 where the device has no size. */
  readonly sizeBytes: number;
  /** How often every thread has read the size again. */
  readonly refreshes: number;
  /** By thread; the device thread is the first. */
  readonly polls: readonly PollCount[];
  /** Disks only. */
  readonly blocks?: { readonly requests: readonly BlockCount[]; readonly read: number; readonly written: number };
}

const [POLL_HITS, POLL_MISSES, IS_CONNECTED, SIZE, REFRESHES, QUEUES] = [0, 1, 2, 3, 4, 5] as const;

/** The counters of one thread: written by it, and read by the main thread. */
export class ThreadCounters {
  readonly memory: SharedArrayBuffer;
  readonly #words: Float64Array;

  /** @param queues how many the device offers, or the memory of another thread. */
  constructor(queues: number | SharedArrayBuffer) {
    this.memory =
      typeof queues === 'number' ? new SharedArrayBuffer(8 * (QUEUES + queues * QUEUE_COUNTER_WORDS)) : queues;
    this.#words = new Float64Array(this.memory);
  }

  get queueCount(): number {
    return (this.#words.length - QUEUES) / QUEUE_COUNTER_WORDS;
  }

  queue(index: number): SharedQueueCounters {
    const from = QUEUES + index * QUEUE_COUNTER_WORDS;
    return new SharedQueueCounters(this.#words.subarray(from, from + QUEUE_COUNTER_WORDS));
  }

  get polls(): PollCount {
    return { hits: this.#words[POLL_HITS] ?? 0, misses: this.#words[POLL_MISSES] ?? 0 };
  }

  /** Of the device thread: whether a front end is connected. */
  get isConnected(): boolean {
    return this.#words[IS_CONNECTED] === 1;
  }

  /** Disks only: the size that the driver was told. */
  get sizeBytes(): number {
    return this.#words[SIZE] ?? 0;
  }

  set sizeBytes(bytes: number) {
    this.#words[SIZE] = bytes;
  }

  /** Of the device thread: how often every thread has read again what can change outside. */
  get refreshes(): number {
    return this.#words[REFRESHES] ?? 0;
  }

  countRefresh(): void {
    this.#count(REFRESHES);
  }

  /** Takes an event of the session, before the log leaves lines out that repeat. */
  note(event: EventName | undefined): void {
    if (event === 'connected') this.#words[IS_CONNECTED] = 1;
    if (event === 'left' || event === 'session-ended') this.#words[IS_CONNECTED] = 0;
  }

  /** Returns `policy`, which counts from now on. */
  counted(policy: PollPolicy | undefined): PollPolicy | undefined {
    if (policy === undefined) return undefined;
    let isPolling = false;
    return {
      pollNs: () => {
        const ns = policy.pollNs();
        isPolling = ns > 0;
        return ns;
      },
      waited: (ns, foundByPolling) => {
        if (foundByPolling) this.#count(POLL_HITS);
        else if (isPolling) this.#count(POLL_MISSES);
        policy.waited(ns, foundByPolling);
      },
    };
  }

  #count(word: number): void {
    this.#words[word] = (this.#words[word] ?? 0) + 1;
  }
}

/** Adds up what the threads of a device have counted. */
export function countsOf(threads: readonly CounterMemory[]): DeviceCounts {
  const counters = threads.map(({ thread }) => new ThreadCounters(thread));
  const queueCount = Math.max(0, ...counters.map((thread) => thread.queueCount));
  const all = Array.from({ length: queueCount }, (_, queue) => sumOf(queue, counters));
  const blocks = threads.flatMap(({ blocks: memory }) => (memory === undefined ? [] : [new BlockCounts(memory)]));
  return {
    queues: all.filter(({ requests, kicks, calls }) => requests + kicks + calls > 0),
    isConnected: counters[0]?.isConnected ?? false,
    sizeBytes: counters[0]?.sizeBytes ?? 0,
    refreshes: counters[0]?.refreshes ?? 0,
    polls: counters.map(({ polls }) => polls),
    ...(blocks.length > 0 && { blocks: sumOfBlocks(blocks) }),
  };
}

function sumOf(queue: number, threads: readonly ThreadCounters[]): QueueCount {
  const latency = newLatencyCounts();
  const sum = { queue, requests: 0, batches: 0, calls: 0, kicks: 0, inFlight: 0, latency };
  for (const thread of threads) {
    const one = thread.queue(queue);
    sum.requests += one.requests;
    sum.batches += one.batches;
    sum.calls += one.calls;
    sum.kicks += one.kicks;
    sum.inFlight += one.inFlight;
    one.addLatency(latency);
  }
  return sum;
}

function sumOfBlocks(all: readonly BlockCounts[]): NonNullable<DeviceCounts['blocks']> {
  const total = (of: (one: BlockCounts) => number): number => all.reduce((sum, one) => sum + of(one), 0);
  const requests = BLOCK_KINDS.flatMap((kind) =>
    BLOCK_OUTCOMES.map((outcome) => ({ kind, outcome, count: total((one) => one.countOf(kind, outcome)) })),
  );
  return { requests, read: total(({ read }) => read), written: total(({ written }) => written) };
}
