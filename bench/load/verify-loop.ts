// bench/load: verifies that a disk keeps its data: writes and reads blocks at random and compares every word.
import { createHistogram } from 'node:perf_hooks';
import { VIRTIO_BLK_S_OK } from '../../src/devices/blk/spec.ts';
import { fillPattern, findMismatch } from './block-pattern.ts';
import type { BlockRange } from './block-picker.ts';
import type { LoadParts } from './load-loop.ts';
import { type LoadErrors, newErrors } from './load-spec.ts';
import { NO_SLOT } from './request-slots.ts';

/** The most blocks that one queue verifies: the expected content of each takes four bytes of memory. */
export const VERIFY_BLOCKS_MAX = 1 << 22;

export interface VerifyParts extends LoadParts {
  /** The blocks that only this queue uses. */
  readonly range: BlockRange;
  readonly seed: number;
}

interface Choice {
  readonly block: number;
  readonly write: boolean;
}

export class VerifyLoop {
  readonly latency = createHistogram({ lowest: 1, highest: 60e9, figures: 3 });
  readonly errors: LoadErrors = newErrors();
  requests = 0;
  kicks = 0;
  readonly #parts: VerifyParts;
  /** How often each block was written; 0: the content is unknown. */
  readonly #generations: Uint32Array<ArrayBuffer>;
  readonly #busy: Uint8Array<ArrayBuffer>;
  /** The block each slot is at, or -1, and since when. */
  readonly #blockOf: Int32Array<ArrayBuffer>;
  readonly #submittedMs: Float64Array<ArrayBuffer>;
  readonly #idle: number[] = [];

  constructor(parts: VerifyParts) {
    this.#parts = parts;
    const { slots, range } = parts;
    this.#generations = new Uint32Array(range.count);
    this.#busy = new Uint8Array(range.count);
    this.#blockOf = new Int32Array(slots.count).fill(-1);
    this.#submittedMs = new Float64Array(slots.count);
    for (let slot = 0; slot < slots.count; slot++) this.#idle.push(slot);
  }

  /** Writes and reads at random until `performance.now()` reaches `untilMs`. Throws StallError. */
  run(untilMs: number): void {
    while (performance.now() < untilMs) {
      this.#submitIdle(() => this.#anyBlock());
      this.#harvest();
    }
  }

  /** Waits for requests in flight, then reads every block that was written. Throws StallError. */
  finish(): void {
    this.#drain();
    this.#readBack();
  }

  /** Resets the counters, not the errors. */
  reset(): void {
    this.latency.reset();
    this.requests = 0;
    this.kicks = 0;
    this.#parts.wait.resetCalls();
  }

  #anyBlock(): Choice | undefined {
    const { picker, range } = this.#parts;
    // Requests to a block that has one in flight could be served in either order: such a block is skipped.
    const block = picker.next() - range.first;
    if (this.#busy[block] === 1) return undefined;
    return { block, write: this.#generations[block] === 0 || picker.below(2) === 0 };
  }

  /** Reads every block that was written, not in sequence. */
  #readBack(): void {
    const { count } = this.#parts.range;
    const step = stepThrough(count);
    let block = 0;
    let left = count;
    const next = (): Choice | undefined => {
      while (left-- > 0) {
        block = (block + step) % count;
        if (this.#generations[block] !== 0) return { block, write: false };
      }
      return undefined;
    };
    while (left > 0) {
      this.#submitIdle(next);
      this.#harvest();
    }
    this.#drain();
  }

  #drain(): void {
    while (this.#inFlight > 0) this.#harvest();
  }

  #submitIdle(choose: () => Choice | undefined): void {
    const { ring, kick } = this.#parts;
    const nowMs = performance.now();
    for (let tries = this.#idle.length; tries > 0; tries--) {
      const chosen = choose();
      if (chosen !== undefined) this.#submit(this.#idle.pop() as number, chosen.block, chosen.write, nowMs);
    }
    if (!ring.publish()) return;
    this.kicks++;
    kick.signal();
  }

  #submit(slot: number, block: number, write: boolean, nowMs: number): void {
    const { slots, ring, range, sectorsPerBlock, seed } = this.#parts;
    const sector = (range.first + block) * sectorsPerBlock;
    const words = slots.words[slot] as Uint32Array;
    this.#busy[block] = 1;
    this.#blockOf[slot] = block;
    this.#submittedMs[slot] = nowMs;
    if (write) {
      const generation = (this.#generations[block] as number) + 1;
      this.#generations[block] = generation;
      fillPattern(words, sector, generation, seed);
    }
    // The buffer may still hold the block that is now read: it is overwritten, so that a missing read is detected.
    else words.fill(0xdeadbeef);
    slots.prepare(slot, write, sector);
    ring.push(slots.heads[slot] as number);
  }

  get #inFlight(): number {
    return this.#parts.slots.count - this.#idle.length;
  }

  #harvest(): void {
    if (this.#inFlight === 0) return;
    const { ring, wait } = this.#parts;
    const count = wait.next();
    const nowMs = performance.now();
    for (let i = 0; i < count; i++) this.#complete(ring.usedId(i), ring.usedLength(i), nowMs);
    ring.take(count);
    ring.suppress();
    this.requests += count;
  }

  #complete(id: number, usedLength: number, nowMs: number): void {
    const { slots } = this.#parts;
    const slot = slots.slotOf[id] ?? NO_SLOT;
    const block = this.#blockOf[slot] ?? -1;
    if (block < 0) {
      this.#fail('id', `the used ring names descriptor ${id}, where no request in flight begins`);
      return;
    }
    this.latency.record(Math.max(1, Math.round((nowMs - (this.#submittedMs[slot] as number)) * 1e6)));
    const status = slots.status(slot);
    if (status !== VIRTIO_BLK_S_OK) this.#fail('status', `${slots.describe(slot)}: status ${status}`);
    const expected = slots.usedLength(slot);
    if (usedLength !== expected) {
      this.#fail('length', `${slots.describe(slot)}: used length ${usedLength}, not ${expected}`);
    }
    if (status === VIRTIO_BLK_S_OK && !slots.isWrite(slot)) this.#compare(slot, block);
    this.#busy[block] = 0;
    this.#blockOf[slot] = -1;
    this.#idle.push(slot);
  }

  #compare(slot: number, block: number): void {
    const { slots, range, sectorsPerBlock, seed } = this.#parts;
    const sector = (range.first + block) * sectorsPerBlock;
    const generation = this.#generations[block] as number;
    const mismatch = findMismatch(slots.words[slot] as Uint32Array, sector, generation, seed);
    if (mismatch !== undefined) this.#fail('data', `${slots.describe(slot)}, written ${generation} times: ${mismatch}`);
  }

  #fail(kind: 'status' | 'id' | 'length' | 'data', what: string): void {
    this.errors[kind]++;
    this.errors.first ??= what;
  }
}

/** A step that visits every number of 0..count-1 modulo count: about 0.6 of the count, and coprime to it. */
function stepThrough(count: number): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  let step = Math.max(1, Math.floor(count * 0.618));
  while (divisor(step, count) !== 1) step++;
  return step;
}
