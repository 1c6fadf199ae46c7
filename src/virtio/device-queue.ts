// Cellar: what a device sees of a virtqueue, whatever its ring format and whoever notifies whom.
import type { DescriptorChain } from './descriptor-chain.ts';
import type { QueueCounters } from './queue-counters.ts';
import type { RingWords } from './split/split-ring.ts';

/** Serves one request, now or later: `markUsed` gives it back. */
export type ServeChain = (chain: DescriptorChain, queue: Virtqueue) => void;

/** Told the first `count` chains of a batch before they are served: the moment to ask memory for what they will need. */
export type ExpectBatch = (batch: readonly DescriptorChain[], count: number) => void;

export interface Virtqueue {
  /**
   * Serves what the driver made available: suppresses notifications, pops, serves, publishes, rearms, looks again.
   * Bounded: when it gives `DRAIN_MAX` or more, call it again after others had their turn.
   * @returns requests popped. Throws DriverError: the queue is then broken and serves no more.
   */
  drain(serve: ServeChain, expect?: ExpectBatch): number;
  /** Gives a request back, now or later, having written `usedLength` bytes; the driver sees it with the next `publish`. */
  markUsed(chain: DescriptorChain, usedLength: number): void;
  /** Shows the driver what was marked used, and notifies it if it asked for that. `drain` does this for its own batch. */
  publish(): void;
}

/** Requests popped, served and published together: the first completion must not wait for the last. */
export const BATCH_MAX = 32;
/** Requests one `drain` serves before it lets others go first. */
export const DRAIN_MAX = 256;

/** What a queue of any ring format is made with, beside its ring and the driver's memory. */
export interface QueueOptions {
  readonly features: bigint;
  /** Rings the driver. */
  readonly notify: () => void;
  /** The available index to go on from, 0 for a fresh ring. */
  readonly base?: number;
  readonly counters?: QueueCounters;
  /** Told the time from pop to publish, in ns, once a batch and once for each request that completed later. */
  readonly latency?: { record(ns: number): void };
}

/** A queue as a person wants to see it when something hangs: the shared words, and how far this side got. */
export interface QueueState extends RingWords {
  readonly popped: number;
  readonly givenBack: number;
  readonly inFlight: number;
  readonly polled: boolean;
  readonly broken: boolean;
}
