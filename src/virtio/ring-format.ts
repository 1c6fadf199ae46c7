// virtio: the interface of a ring format (§2.7, §2.8), for code that sets up queues of any format.
import type { DeviceQueue } from './device-queue.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { InFlightLimit } from './in-flight-limit.ts';
import type { QueueCounters } from './queue-counters.ts';

/** A number for each of the three areas of a virtqueue, §2.6: its address, its length or its alignment. */
export interface RingAreas {
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
}

/** The three areas in memory. */
export type AreaBytes = { readonly [area in keyof RingAreas]: Uint8Array<ArrayBuffer> };

/** A ring format: the layout of its areas, and how to open a queue. */
export interface RingFormat {
  /** Bytes of each area of a queue with `size` descriptors. */
  bytes(size: number): RingAreas;
  /** The alignment of each area's guest address, in bytes. */
  readonly alignment: RingAreas;
  /** Bytes of the record of the requests in flight, `QueueOptions.inFlightArea`. */
  inFlightBytes(size: number): number;
  /** Whether a queue may have `size` descriptors. */
  isSize(size: number): boolean;
  /** The base of a new ring. Only the format interprets a base. */
  readonly firstBase: number;
  isBase(base: number): boolean;
  /** Opens a queue on a ring in memory. `areas` are as long and aligned as `bytes` and `alignment` say. */
  open(size: number, areas: AreaBytes, memory: GuestMemory, options: QueueOptions): RunnableQueue;
}

/** The options of a queue of any format. */
export interface QueueOptions {
  readonly features: bigint;
  /** Notifies the driver. */
  readonly notify: () => void;
  /** Schedules another call of the device's `process`, after other queues had their turn. */
  readonly again: () => void;
  /**
   * The driver broke a MUST, or the device threw: the queue is closed. Absent: the error is thrown where it happens.
   */
  readonly broken?: (problem: Error) => void;
  /** Where to go on in the ring. Default `firstBase`. */
  readonly base?: number;
  readonly counters?: QueueCounters;
  /** Records the time from pop to publish, in ns: once a batch, and once for each request that completes later. */
  readonly latency?: { record(ns: number): void };
  /** Shared by the queues of a device on a thread. Default: no limit. */
  readonly inFlight?: InFlightLimit;
  /**
   * Memory that outlives this process, in which the queue records its requests in flight. It first serves those that
   * the process before it left there. Default: none.
   */
  readonly inFlightArea?: Uint8Array;
  /** Takes a line about an area that does not fit the ring, and is begun anew. */
  readonly log?: (line: string) => void;
  /** The `signal` of the queue. Default: one that is never aborted. */
  readonly signal?: AbortSignal;
}

/** A virtqueue for the transport that runs it. Only its owner thread uses it. */
export interface RunnableQueue extends DeviceQueue {
  /** Where another queue on this ring would go on. */
  readonly base: number;
  /** Requests popped and not returned to the driver, by `drain` and by `take`. */
  readonly inFlight: number;
  /**
   * Of those, the ones that `drain` popped: the device works on them. Buffers that it only keeps (`take`) do not count.
   */
  readonly inService: number;
  readonly counters: QueueCounters;
  /** Whether the driver has made a request available that was not popped. One load, no system call. */
  hasWork(): boolean;
  /** Asks for no notifications until `rearm`: the ring is being polled. */
  suppress(): void;
  /** Asks for notifications again. Returns true when requests arrived meanwhile, which may not be notified. */
  rearm(): boolean;
  /** Pops no more requests. Those in flight can still be completed. */
  close(): void;
  /** Calls `callback` when nothing is in flight: at once, or with the publish of the last request. */
  whenIdle(callback: () => void): void;
  state(): QueueState;
  /** The requests in flight that are the oldest, at most `most`, the oldest first. Absent: not known. */
  oldest?(most: number): readonly PoppedRequest[];
}

/** A request in flight. */
export interface PoppedRequest {
  /** The index of its first descriptor, or its buffer id. */
  readonly head: number;
  /** Since it was popped. */
  readonly ageMs: number;
}

/** The state of a queue, for debugging a hang: the shared words by name, and the device's own indices. */
export interface QueueState {
  readonly words: Readonly<Record<string, number>>;
  /** The available index up to which requests were popped. */
  readonly popped: number;
  /** The used index up to which requests were returned, published or not. */
  readonly givenBack: number;
  readonly inFlight: number;
  /** Requests available and not popped. */
  readonly waiting: number;
  readonly polled: boolean;
}
