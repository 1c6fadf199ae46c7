// Cellar: the split virtqueue of §2.7. Its owner thread is the only one that touches it; the driver is on the other side of memory.
import { DescriptorChain } from './descriptor-chain.ts';
import { DriverError } from './errors.ts';
import type { GuestMemory } from './guest-memory.ts';
import { newQueueCounters, type QueueCounters } from './queue-counters.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
} from './spec.ts';
import { DRAIN_MAX, type Virtqueue } from './virtqueue.ts';

/** The three parts of the ring in guest memory, each `splitQueueBytes(size)` long and aligned as §2.7 says. */
export interface SplitLayout {
  readonly size: number;
  readonly descriptorTable: Uint8Array<ArrayBuffer>;
  readonly availableRing: Uint8Array<ArrayBuffer>;
  readonly usedRing: Uint8Array<ArrayBuffer>;
}

export interface SplitQueueOptions {
  readonly features: bigint;
  /** Rings the driver. */
  readonly notify: () => void;
  /** The available index to go on from, 0 for a fresh ring. */
  readonly base?: number;
  readonly counters?: QueueCounters;
  /** Told the time from pop to publish, in ns, once a batch and once for each request that completed later. */
  readonly latency?: { record(ns: number): void };
}

/** A batch is published after so many requests or bytes: the first completion must not wait for the last. */
const BATCH_MAX = 32;
const BATCH_BYTES = 128 * 1024;
const INDEX = 1; // of `idx` in either ring, in le16 words; `flags` is word 0
const RING = 2; // where the available ring's entries begin

export class SplitQueue implements Virtqueue {
  readonly counters: QueueCounters;
  readonly size: number;
  readonly #mask: number;
  readonly #memory: GuestMemory;
  readonly #table: DataView<ArrayBuffer>;
  readonly #avail: Uint16Array<ArrayBuffer>;
  readonly #used: Uint16Array<ArrayBuffer>;
  readonly #usedElements: Uint32Array<ArrayBuffer>;
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  readonly #notify: () => void;
  readonly #latency: SplitQueueOptions['latency'];
  readonly #pool: DescriptorChain[] = [];
  #nextAvail: number;
  #nextUsed: number;
  #published: number;
  #inFlight = 0;
  #polled = false;
  #inBatch = false;
  #firstCall = true;
  #broken = false;
  #onIdle: (() => void) | undefined;

  constructor(layout: SplitLayout, memory: GuestMemory, options: SplitQueueOptions) {
    const { size, descriptorTable: table, availableRing: avail, usedRing: used } = layout;
    this.size = size;
    this.#mask = size - 1;
    this.#memory = memory;
    this.#table = new DataView(table.buffer, table.byteOffset, table.length);
    this.#avail = new Uint16Array(avail.buffer, avail.byteOffset, avail.length / 2);
    this.#used = new Uint16Array(used.buffer, used.byteOffset, used.length / 2);
    this.#usedElements = new Uint32Array(used.buffer, used.byteOffset + 4, 2 * size);
    this.#eventIdx = (options.features & VIRTIO_F_EVENT_IDX) !== 0n;
    this.#indirect = (options.features & VIRTIO_F_INDIRECT_DESC) !== 0n;
    this.#notify = options.notify;
    this.#latency = options.latency;
    this.counters = options.counters ?? newQueueCounters();
    this.#nextAvail = options.base ?? 0;
    this.#nextUsed = this.#published = Atomics.load(this.#used, INDEX);
    // §2.7.10.1: with EVENT_IDX "the device MUST set flags to 0"; without it we start out willing to be notified.
    Atomics.store(this.#used, 0, 0);
  }

  /** The available index up to which requests were popped: what a front end calls the base. */
  get base(): number {
    return this.#nextAvail;
  }

  /** Calls back as soon as nothing is in flight: at once, or with the publish that shows the last one to the driver. */
  whenIdle(callback: () => void): void {
    if (this.#inFlight === 0) callback();
    else this.#onIdle = callback;
  }

  /** Requests popped and not yet given back. */
  get inFlight(): number {
    return this.#inFlight;
  }

  drain(serve: (chain: DescriptorChain, queue: Virtqueue) => void): number {
    if (this.#broken) return 0;
    let served = 0;
    try {
      if (!this.#polled) this.#disableKicks();
      do {
        for (let batch = 1; batch > 0 && served < DRAIN_MAX; served += batch) batch = this.#serveBatch(serve);
      } while (served < DRAIN_MAX && !this.#polled && this.#enableKicks());
    } catch (error) {
      this.#broken = true;
      this.#inBatch = false;
      this.publish();
      throw error;
    }
    return served;
  }

  /** Whether the driver has made something available that was not popped: one look, no system call. */
  hasWork(): boolean {
    return Atomics.load(this.#avail, INDEX) !== this.#nextAvail && !this.#broken;
  }

  /** Stops asking for notifications until `rearm`: the ring is being polled. */
  suppress(): void {
    this.#polled = true;
    this.#disableKicks();
  }

  /** Asks for notifications again. True when work arrived meanwhile, for which there will be none. */
  rearm(): boolean {
    this.#polled = false;
    return this.#enableKicks() && !this.#broken;
  }

  #disableKicks(): void {
    // With EVENT_IDX an old avail_event suppresses by itself.
    if (!this.#eventIdx) Atomics.store(this.#used, 0, VIRTQ_USED_F_NO_NOTIFY);
  }

  #enableKicks(): boolean {
    if (this.#eventIdx) Atomics.store(this.#used, RING + 4 * this.size, this.#nextAvail);
    else Atomics.store(this.#used, 0, 0);
    // Atomics are sequentially consistent: this store is visible before that load, so one of the two sides sees the other.
    return Atomics.load(this.#avail, INDEX) !== this.#nextAvail;
  }

  #serveBatch(serve: (chain: DescriptorChain, queue: Virtqueue) => void): number {
    const available = (Atomics.load(this.#avail, INDEX) - this.#nextAvail) & 0xffff;
    if (available === 0) return 0;
    if (available + this.#inFlight > this.size)
      throw new DriverError(
        '§2.7.13',
        `${available} requests available and ${this.#inFlight} in flight on a queue of ${this.size}`,
      );
    const startedMs = performance.now();
    const batch = Math.min(available, BATCH_MAX);
    let bytes = 0;
    this.#inBatch = true;
    for (let i = 0; i < batch; i++) {
      const chain = this.#pop(startedMs);
      bytes += chain.readable.totalBytes + chain.writable.totalBytes;
      serve(chain, this);
      if (bytes >= BATCH_BYTES) {
        this.publish();
        bytes = 0;
      }
    }
    this.publish();
    this.#inBatch = false;
    this.#latency?.record(Math.max(1, Math.round((performance.now() - startedMs) * 1e6)));
    return batch;
  }

  #pop(nowMs: number): DescriptorChain {
    const head = this.#avail[RING + (this.#nextAvail & this.#mask)] as number;
    const chain = this.#pool.pop() ?? new DescriptorChain();
    chain.load(head, this.#table, this.size, this.#memory, this.#indirect);
    chain.poppedAtMs = nowMs;
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    this.#inFlight++;
    return chain;
  }

  markUsed(chain: DescriptorChain, usedLength: number): void {
    const at = 2 * (this.#nextUsed & this.#mask);
    this.#usedElements[at] = chain.head;
    this.#usedElements[at + 1] = usedLength;
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    this.#inFlight--;
    this.#pool.push(chain);
    if (!this.#inBatch) this.#latency?.record(Math.max(1, Math.round((performance.now() - chain.poppedAtMs) * 1e6)));
  }

  publish(): void {
    const before = this.#published;
    const now = this.#nextUsed;
    if (before === now) return;
    this.#published = now;
    // "The device MUST set len prior to updating the used idx": Atomics.store orders the elements before it.
    Atomics.store(this.#used, INDEX, now);
    const { counters } = this;
    counters.requests += (now - before) & 0xffff;
    counters.batches++;
    if (this.#wantsCall(before, now)) {
      counters.calls++;
      this.#notify();
    }
    if (this.#inFlight === 0 && this.#onIdle !== undefined) this.#onIdle();
  }

  /** §2.7.7.2, after the barrier that the store of `idx` is. */
  #wantsCall(before: number, now: number): boolean {
    if (!this.#eventIdx) return (Atomics.load(this.#avail, 0) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    const usedEvent = Atomics.load(this.#avail, RING + this.size);
    const first = this.#firstCall;
    this.#firstCall = false;
    return first || ((now - usedEvent - 1) & 0xffff) < ((now - before) & 0xffff);
  }
}
