// bench/load: keeps a queue full: each used slot is counted and made available again as the next request.
import { createHistogram } from 'node:perf_hooks';
import { VIRTIO_BLK_S_OK } from '../../src/devices/blk/spec.ts';
import type { EventFd } from '../../src/sys/event-fd.ts';
import type { BlockPicker } from './block-picker.ts';
import type { Completions } from './completion-wait.ts';
import type { DriverRing } from './driver-ring.ts';
import { type LoadErrors, newErrors } from './load-spec.ts';
import { NO_SLOT, type RequestSlots } from './request-slots.ts';

/** Reads in a hundred requests of a mixed load. */
const MIXED_READS = 70;

export interface LoadParts {
  readonly ring: DriverRing;
  readonly slots: RequestSlots;
  readonly wait: Completions;
  readonly picker: BlockPicker;
  readonly kick: Pick<EventFd, 'signal'>;
  /** Which requests are made: reads, writes or both. */
  readonly kind: 'read' | 'write' | 'mixed';
  readonly sectorsPerBlock: number;
}

export class LoadLoop {
  readonly latency = createHistogram({ lowest: 1, highest: 60e9, figures: 3 });
  readonly errors: LoadErrors = newErrors();
  requests = 0;
  kicks = 0;
  readonly #parts: LoadParts;
  readonly #submittedMs: Float64Array<ArrayBuffer>;
  readonly #latencyNs: Float64Array<ArrayBuffer>;
  #inFlight = 0;

  constructor(parts: LoadParts) {
    this.#parts = parts;
    this.#submittedMs = new Float64Array(parts.slots.count);
    this.#latencyNs = new Float64Array(parts.ring.size);
  }

  /**
   * Runs until `performance.now()` reaches `untilMs`, or `requests` completed; what is in flight then stays in flight.
   * Throws StallError.
   */
  run(untilMs: number, requests = Number.POSITIVE_INFINITY): void {
    if (this.#inFlight === 0) this.#fill();
    for (let nowMs = 0; nowMs < untilMs && this.requests < requests; ) nowMs = this.#turn(true);
  }

  /** Waits for requests in flight. Throws StallError. */
  finish(): void {
    while (this.#inFlight > 0) this.#turn(false);
  }

  /** Resets the counters. */
  reset(): void {
    this.latency.reset();
    this.requests = 0;
    this.kicks = 0;
    this.#parts.wait.resetCalls();
  }

  #fill(): void {
    const nowMs = performance.now();
    for (let slot = 0; slot < this.#parts.slots.count; slot++) this.#submit(slot, nowMs);
    this.#publish();
  }

  /** Takes used elements and submits one batch of new requests. Returns when the used ring was read. */
  #turn(refill: boolean): number {
    const { ring, wait } = this.#parts;
    const count = wait.next();
    const nowMs = performance.now();
    for (let i = 0; i < count; i++) {
      const slot = this.#complete(i, nowMs);
      if (refill && slot !== NO_SLOT) this.#submit(slot, nowMs);
    }
    ring.take(count);
    ring.suppress();
    this.#publish();
    this.requests += count;
    // The device has work again: the histogram, 17 ns a request, is filled meanwhile.
    for (let i = 0; i < count; i++) this.latency.record(this.#latencyNs[i] as number);
    return nowMs;
  }

  /** Checks used element `index`; returns the slot that is free again. */
  #complete(index: number, nowMs: number): number {
    const { ring, slots } = this.#parts;
    const id = ring.usedId(index);
    const slot = slots.slotOf[id] ?? NO_SLOT;
    if (slot === NO_SLOT || this.#submittedMs[slot] === 0) {
      this.errors.id++;
      this.errors.first ??= `the used ring names descriptor ${id}, where no request in flight begins`;
      this.#latencyNs[index] = 1;
      return NO_SLOT;
    }
    const status = slots.status(slot);
    if (status !== VIRTIO_BLK_S_OK) {
      this.errors.status++;
      this.errors.first ??= `${slots.describe(slot)}: status ${status}`;
    }
    this.#latencyNs[index] = Math.max(1, Math.round((nowMs - (this.#submittedMs[slot] as number)) * 1e6));
    this.#submittedMs[slot] = 0;
    this.#inFlight--;
    return slot;
  }

  #submit(slot: number, nowMs: number): void {
    const { ring, slots, picker, kind, sectorsPerBlock } = this.#parts;
    const write = kind === 'write' || (kind === 'mixed' && picker.below(100) >= MIXED_READS);
    slots.prepare(slot, write, picker.next() * sectorsPerBlock);
    ring.push(slots.heads[slot] as number);
    this.#submittedMs[slot] = nowMs;
    this.#inFlight++;
  }

  #publish(): void {
    if (!this.#parts.ring.publish()) return;
    this.kicks++;
    this.#parts.kick.signal();
  }
}
