// Cellar: the split virtqueue of §2.7. Its owner thread is the only one that touches it; the driver is on the other side of memory.

import type { DescriptorChain } from '../descriptor-chain.ts';
import type { ExpectBatch, QueueOptions, QueueState, ServeChain, Virtqueue } from '../device-queue.ts';
import { DRAIN_MAX } from '../device-queue.ts';
import type { GuestMemory } from '../guest-memory.ts';
import { newQueueCounters, type QueueCounters } from '../queue-counters.ts';
import { ChainBatch } from './available-requests.ts';
import { SplitNotification } from './split-notification.ts';
import { type SplitLayout, SplitRing } from './split-ring.ts';

/** A batch is published after so many bytes too, and after each request while a store takes so long for one. */
const BATCH_BYTES = 128 * 1024;
const SLOW_MS = 0.1;

export class SplitQueue implements Virtqueue {
  readonly counters: QueueCounters;
  readonly #ring: SplitRing;
  readonly #notification: SplitNotification;
  readonly #notify: () => void;
  readonly #latency: QueueOptions['latency'];
  readonly #batch: ChainBatch;
  #nextAvail: number;
  #nextUsed: number;
  #published: number;
  #inFlight = 0;
  #polled = false;
  #inBatch = false;
  #broken = false;
  #slowBatches = 0;
  #onIdle: (() => void) | undefined;

  constructor(layout: SplitLayout, memory: GuestMemory, options: QueueOptions) {
    this.counters = options.counters ?? newQueueCounters();
    this.#ring = new SplitRing(layout);
    this.#batch = new ChainBatch(this.#ring, memory, options.features);
    this.#notification = new SplitNotification(this.#ring, options.features);
    this.#notify = options.notify;
    this.#latency = options.latency;
    this.#nextAvail = options.base ?? 0;
    this.#nextUsed = this.#published = this.#ring.usedIndex();
  }

  /** The available index up to which requests were popped: what a front end calls the base. */
  get base(): number {
    return this.#nextAvail;
  }

  /** Requests popped and not yet given back. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Calls back as soon as nothing is in flight: at once, or with the publish that shows the last one to the driver. */
  whenIdle(callback: () => void): void {
    if (this.#inFlight === 0) callback();
    else this.#onIdle = callback;
  }

  state(): QueueState {
    const here = { popped: this.base, givenBack: this.#nextUsed, inFlight: this.#inFlight };
    return { ...this.#ring.words(), ...here, polled: this.#polled, broken: this.#broken };
  }

  drain(serve: ServeChain, expect?: ExpectBatch): number {
    if (this.#broken) return 0;
    let served = 0;
    try {
      if (!this.#polled) this.#notification.disable();
      do {
        for (let batch = 1; batch > 0 && served < DRAIN_MAX; served += batch) batch = this.#serveBatch(serve, expect);
      } while (served < DRAIN_MAX && !this.#polled && this.#notification.enable(this.#nextAvail));
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
    return this.#ring.availableIndex() !== this.#nextAvail && !this.#broken;
  }

  /** Stops asking for notifications until `rearm`: the ring is being polled. */
  suppress(): void {
    this.#polled = true;
    this.#notification.silence(this.#nextAvail);
  }

  /** Asks for notifications again. True when work arrived meanwhile, for which there will be none. */
  rearm(): boolean {
    this.#polled = false;
    return this.#notification.enable(this.#nextAvail) && !this.#broken;
  }

  #serveBatch(serve: ServeChain, expect: ExpectBatch | undefined): number {
    const available = (this.#ring.availableIndex() - this.#nextAvail) & 0xffff;
    if (available === 0) return 0;
    const startedMs = performance.now();
    const popped = this.#batch.fill(this.#nextAvail, available, this.#inFlight, startedMs);
    this.#nextAvail = (this.#nextAvail + popped) & 0xffff;
    const { chains } = this.#batch;
    if (popped > 0) expect?.(chains, popped);
    let bytes = 0;
    this.#inBatch = true;
    for (let i = 0; i < popped; i++) {
      const chain = chains[i] as DescriptorChain;
      bytes += chain.readable.totalBytes + chain.writable.totalBytes;
      serve(chain, this);
      this.#inFlight++; // a device that throws has not taken it
      if (bytes >= BATCH_BYTES || this.#slowBatches > 1) {
        this.publish();
        bytes = 0;
      }
    }
    this.publish();
    this.#inBatch = false;
    const tookMs = this.#recordSince(startedMs);
    this.#slowBatches = tookMs > popped * SLOW_MS ? this.#slowBatches + 1 : 0;
    if (this.#batch.accusation !== undefined) throw this.#batch.accusation;
    return popped;
  }

  markUsed(chain: DescriptorChain, usedLength: number): void {
    this.#ring.setUsed(this.#nextUsed, chain.head, usedLength);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    this.#inFlight--;
    this.#batch.recycle(chain);
    if (!this.#inBatch) this.#recordSince(chain.poppedAtMs);
  }

  #recordSince(startedMs: number): number {
    const tookMs = performance.now() - startedMs;
    this.#latency?.record(Math.max(1, Math.round(tookMs * 1e6)));
    return tookMs;
  }

  publish(): void {
    const before = this.#published;
    const now = this.#nextUsed;
    if (before === now) return;
    this.#published = now;
    this.#ring.setUsedIndex(now);
    this.counters.requests += (now - before) & 0xffff;
    this.counters.batches++;
    if (this.#notification.wantsCall(before, now)) {
      this.counters.calls++;
      this.#notify();
    }
    if (this.#inFlight === 0) this.#onIdle?.();
  }
}
