// bench/load: the driver side of a split virtqueue (§2.7), owned by one thread: a few stores a request, one a batch.
import { VIRTQ_AVAIL_F_NO_INTERRUPT, VIRTQ_USED_F_NO_NOTIFY } from '../../src/virtio/spec.ts';
import type { QueuePlan } from './queue-plan.ts';

// Of either ring, in le16 words.
const FLAGS = 0;
const INDEX = 1;
const RING = 2;
/** A used_event that was passed suppresses until the 16-bit index comes round to it: it is moved on in time. */
const USED_EVENT_AGE_MAX = 0x4000;

/** §2.7.7.2, §2.7.10: whether the step from `before` to `now` passed `event`. All are indexes modulo 2^16. */
export function passed(event: number, before: number, now: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}

export class DriverRing {
  readonly size: number;
  readonly #mask: number;
  readonly #eventIdx: boolean;
  readonly #avail: Uint16Array<ArrayBuffer>;
  readonly #used: Uint16Array<ArrayBuffer>;
  readonly #usedElements: Uint32Array<ArrayBuffer>;
  readonly #usedEventAt: number;
  readonly #availEventAt: number;
  #nextAvail = 0;
  #published = 0;
  #nextUsed = 0;
  #usedEvent = 0;
  #suppressed = false;

  /** @param memory the shared memory of `plan`; the rings in it are zero. */
  constructor(memory: Uint8Array<ArrayBuffer>, plan: QueuePlan, eventIdx: boolean) {
    this.size = plan.size;
    this.#mask = plan.size - 1;
    this.#eventIdx = eventIdx;
    this.#avail = new Uint16Array(memory.buffer, memory.byteOffset + plan.driverArea, RING + plan.size + 1);
    this.#used = new Uint16Array(memory.buffer, memory.byteOffset + plan.deviceArea, RING + 4 * plan.size + 1);
    this.#usedElements = new Uint32Array(memory.buffer, memory.byteOffset + plan.deviceArea + 4, 2 * plan.size);
    this.#usedEventAt = RING + plan.size;
    this.#availEventAt = RING + 4 * plan.size;
  }

  /** Stages the chain that begins with descriptor `head`; `publish` shows it to the device. */
  push(head: number): void {
    this.#avail[RING + (this.#nextAvail & this.#mask)] = head;
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
  }

  /** Makes what was pushed available. True when the device wants to be notified of it. */
  publish(): boolean {
    const before = this.#published;
    const now = this.#nextAvail;
    if (before === now) return false;
    this.#published = now;
    // Sequentially consistent: the barrier between this store and the load of what the device asks for (§2.7.13.4.1).
    Atomics.store(this.#avail, INDEX, now);
    if (!this.#eventIdx) return (Atomics.load(this.#used, FLAGS) & VIRTQ_USED_F_NO_NOTIFY) === 0;
    return passed(Atomics.load(this.#used, this.#availEventAt), before, now);
  }

  /** How many used elements wait to be taken: one look. */
  completed(): number {
    return (Atomics.load(this.#used, INDEX) - this.#nextUsed) & 0xffff;
  }

  /** The id of used element `offset` of those that wait. */
  usedId(offset: number): number {
    return this.#usedElements[2 * ((this.#nextUsed + offset) & this.#mask)] as number;
  }

  /** Its length: bytes the device says it wrote. */
  usedLength(offset: number): number {
    return this.#usedElements[2 * ((this.#nextUsed + offset) & this.#mask) + 1] as number;
  }

  /** Takes `count` used elements off. */
  take(count: number): void {
    this.#nextUsed = (this.#nextUsed + count) & 0xffff;
  }

  /** Asks the device not to notify: we are looking by ourselves. Cheap enough to be called after every `take`. */
  suppress(): void {
    if (!this.#eventIdx) {
      if (!this.#suppressed) Atomics.store(this.#avail, FLAGS, VIRTQ_AVAIL_F_NO_INTERRUPT);
      this.#suppressed = true;
      return;
    }
    const age = (this.#nextUsed - this.#usedEvent) & 0xffff;
    if (age > 0 && age < USED_EVENT_AGE_MAX) return;
    this.#usedEvent = (this.#nextUsed - 1) & 0xffff;
    Atomics.store(this.#avail, this.#usedEventAt, this.#usedEvent);
  }

  /** Asks to be notified of the next used element. Gives what `completed` gives: for those none will come. */
  rearm(): number {
    if (this.#eventIdx) {
      this.#usedEvent = this.#nextUsed;
      Atomics.store(this.#avail, this.#usedEventAt, this.#usedEvent);
    } else {
      this.#suppressed = false;
      Atomics.store(this.#avail, FLAGS, 0);
    }
    // This store is visible before that load, so one of the two sides sees the other.
    return this.completed();
  }

  /** Both sides' words, for a stall's report. */
  toString(): string {
    const avail = `idx ${Atomics.load(this.#avail, INDEX)}, flags ${Atomics.load(this.#avail, FLAGS)}`;
    const used = `idx ${Atomics.load(this.#used, INDEX)}, flags ${Atomics.load(this.#used, FLAGS)}`;
    const usedEvent = Atomics.load(this.#avail, this.#usedEventAt);
    const driver = `driver: avail ${avail}, used_event ${usedEvent}, took up to ${this.#nextUsed}`;
    const device = `device: used ${used}, avail_event ${Atomics.load(this.#used, this.#availEventAt)}`;
    return `${driver}; ${device}; ${this.#eventIdx ? 'with' : 'without'} EVENT_IDX`;
  }
}
