// bench/load: makes requests at a fixed rate, each when it is due, and sleeps in between, as an almost idle guest does.
import { createHistogram } from 'node:perf_hooks';
import { VIRTIO_BLK_S_OK } from '../../src/devices/blk/spec.ts';
import type { PacedCompletions } from './completion-wait.ts';
import type { LoadParts } from './load-loop.ts';
import { type LoadErrors, newErrors } from './load-spec.ts';
import { NO_SLOT } from './request-slots.ts';

export interface PacedParts extends LoadParts {
  readonly wait: PacedCompletions;
  /** Time from one request to the next; Infinity: no requests. */
  readonly intervalMs: number;
}

export class PacedLoop {
  /** From submitting a request to finding it used, in ns; from when it was due where it had to wait for a free slot. */
  readonly latency = createHistogram({ lowest: 1, highest: 60e9, figures: 3 });
  readonly errors: LoadErrors = newErrors();
  requests = 0;
  kicks = 0;
  readonly #parts: PacedParts;
  readonly #submittedMs: Float64Array<ArrayBuffer>;
  readonly #idle: number[];
  #dueMs: number | undefined;

  constructor(parts: PacedParts) {
    this.#parts = parts;
    this.#submittedMs = new Float64Array(parts.slots.count);
    this.#idle = Array.from({ length: parts.slots.count }, (_, slot) => slot);
  }

  /** Runs until `performance.now()` reaches `untilMs`; what is in flight then stays in flight. Throws StallError. */
  run(untilMs: number): void {
    const { wait, intervalMs } = this.#parts;
    this.#dueMs ??= performance.now() + intervalMs;
    while (performance.now() < untilMs) {
      this.#submitDue(this.#dueMs);
      const count = this.#idle.length === 0 ? wait.next() : wait.nextBefore(Math.min(untilMs, this.#dueMs));
      this.#take(count);
    }
  }

  /** Waits for requests in flight. Throws StallError. */
  finish(): void {
    while (this.#idle.length < this.#parts.slots.count) this.#take(this.#parts.wait.next());
  }

  /** Resets the counters. */
  reset(): void {
    this.latency.reset();
    this.requests = 0;
    this.kicks = 0;
    this.#parts.wait.resetCalls();
  }

  #submitDue(firstDueMs: number): void {
    const { ring, slots, picker, kind, sectorsPerBlock, kick, intervalMs } = this.#parts;
    const nowMs = performance.now();
    let dueMs = firstDueMs;
    for (; dueMs <= nowMs && this.#idle.length > 0; dueMs += intervalMs) {
      const slot = this.#idle.pop() as number;
      const write = kind === 'write' || (kind === 'mixed' && picker.below(2) === 0);
      slots.prepare(slot, write, picker.next() * sectorsPerBlock);
      ring.push(slots.heads[slot] as number);
      // A late timer is this thread's delay, of microseconds; a late slot is the device's, and counts.
      this.#submittedMs[slot] = nowMs - dueMs < intervalMs ? nowMs : dueMs;
    }
    this.#dueMs = dueMs;
    if (!ring.publish()) return;
    this.kicks++;
    kick.signal();
  }

  #take(count: number): void {
    const { ring, slots } = this.#parts;
    const nowMs = performance.now();
    for (let i = 0; i < count; i++) {
      const id = ring.usedId(i);
      const slot = slots.slotOf[id] ?? NO_SLOT;
      if (slot === NO_SLOT || this.#submittedMs[slot] === 0) {
        this.errors.id++;
        this.errors.first ??= `the used ring names descriptor ${id}, where no request in flight begins`;
        continue;
      }
      const status = slots.status(slot);
      if (status !== VIRTIO_BLK_S_OK) {
        this.errors.status++;
        this.errors.first ??= `${slots.describe(slot)}: status ${status}`;
      }
      this.latency.record(Math.max(1, Math.round((nowMs - (this.#submittedMs[slot] as number)) * 1e6)));
      this.#submittedMs[slot] = 0;
      this.#idle.push(slot);
    }
    ring.take(count);
    this.requests += count;
  }
}
