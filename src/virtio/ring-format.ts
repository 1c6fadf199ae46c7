// Cellar: what differs between ring formats, for whatever sets a queue up without caring which it is (§2.7, §2.8).
import type { DeviceQueue } from './device-queue.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { InFlightLimit } from './in-flight-limit.ts';
import type { QueueCounters } from './queue-counters.ts';

/** A number for each of the three areas of a virtqueue, §2.6: where it begins, how long it is, how it is aligned. */
export interface RingAreas {
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
}

/** The three areas in memory. */
export type AreaBytes = { readonly [area in keyof RingAreas]: Uint8Array<ArrayBuffer> };

export interface RingFormat {
  /** Bytes of each area of a queue of `size`. */
  bytes(size: number): RingAreas;
  /** To what each area's guest address is aligned. */
  readonly alignment: RingAreas;
  isSize(size: number): boolean;
  /** The base a ring begins with: opaque but to the format. */
  readonly firstBase: number;
  isBase(base: number): boolean;
  open(size: number, areas: AreaBytes, memory: GuestMemory, options: QueueOptions): RunnableQueue;
}

/** What a queue of any format is made with, beside its ring and the driver's memory. */
export interface QueueOptions {
  readonly features: bigint;
  /** Notifies the driver. */
  readonly notify: () => void;
  /** Asks for another call of the device's `process`, after others had their turn. */
  readonly again: () => void;
  /** The driver broke a MUST, or the device threw: the queue is closed. Absent: thrown where it happens. */
  readonly broken?: (problem: Error) => void;
  /** Where to go on in the ring; `firstBase` unless said. */
  readonly base?: number;
  readonly counters?: QueueCounters;
  /** Given the time from pop to publish, in ns, once a batch and once for each request that completed later. */
  readonly latency?: { record(ns: number): void };
  /** Shared by the queues of a device on a thread; without a bound unless said. */
  readonly inFlight?: InFlightLimit;
  /** Never aborted unless said. */
  readonly signal?: AbortSignal;
}

/** A virtqueue as its owner thread runs it. */
export interface RunnableQueue extends DeviceQueue {
  /** Where the next to run the ring goes on. */
  readonly base: number;
  /** Requests taken and not given back. */
  readonly inFlight: number;
  /** Of those, the ones that `drain` took: the device is working on them, rather than keeping buffers. */
  readonly inService: number;
  readonly counters: QueueCounters;
  /** Whether the driver has made something available that was not taken: one look, no system call. */
  hasWork(): boolean;
  /** Asks for no notifications until `rearm`: the ring is being polled. */
  suppress(): void;
  /** Asks for notifications again. Returns true when work arrived meanwhile, for which there will be none. */
  rearm(): boolean;
  /** Takes no more requests. Those in flight are given back as before. */
  close(): void;
  /** Calls back as soon as nothing is in flight: at once, or with the publish that shows the last request to the driver. */
  whenIdle(callback: () => void): void;
  state(): QueueState;
}

/** A queue for a person to look at when something hangs: the shared words by name, and how far this side got. */
export interface QueueState {
  readonly words: Readonly<Record<string, number>>;
  readonly popped: number;
  readonly givenBack: number;
  readonly inFlight: number;
  /** Available and not taken. */
  readonly waiting: number;
  readonly polled: boolean;
}
