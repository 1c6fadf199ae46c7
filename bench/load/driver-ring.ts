// bench/load: the driver side of a split virtqueue (§2.7), owned by one thread: a few stores a request, one a batch.
import { VIRTQ_AVAIL_F_NO_INTERRUPT, VIRTQ_USED_F_NO_NOTIFY } from '../../src/virtio/spec.ts';
import type { QueuePlan } from './queue-plan.ts';

// Indices in either ring, in le16 words.
const FLAGS = 0;
const INDEX = 1;
const RING = 2;
/** A passed used_event suppresses calls only until the 16-bit index wraps around to it: it is moved on in time. */
const USED_EVENT_AGE_MAX = 0x4000;

/** §2.7.7.2, §2.7.10: whether the step from `before` to `now` passed `event`. All are indices modulo 2^16. */
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

  /** Makes pushed chains available. Returns whether the device must be notified. */
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

  /** Returns how many used elements have not been taken. */
  completed(): number {
    return (Atomics.load(this.#used, INDEX) - this.#nextUsed) & 0xffff;
  }

  /** The id of used element `offset` of those not yet taken. */
  usedId(offset: number): number {
    return this.#usedElements[2 * ((this.#nextUsed + offset) & this.#mask)] as number;
  }

  /** The length of used element `offset`: bytes that the device reports as written. */
  usedLength(offset: number): number {
    return this.#usedElements[2 * ((this.#nextUsed + offset) & this.#mask) + 1] as number;
  }

  /** Takes `count` used elements. */
  take(count: number): void {
    this.#nextUsed = (this.#nextUsed + count) & 0xffff;
  }

  /** Asks the device not to notify, for a driver that polls. Cheap enough to be called after every `take`. */
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

  /** Requests a call for the next used element. Returns `completed()`: for those elements no call will come. */
  rearm(): number {
    if (this.#eventIdx) {
      this.#usedEvent = this.#nextUsed;
      Atomics.store(this.#avail, this.#usedEventAt, this.#usedEvent);
    } else {
      this.#suppressed = false;
      Atomics.store(this.#avail, FLAGS, 0);
    }
    // A full barrier between the store above and this load, so that at least one side sees the other's store.
    return this.completed();
  }

  /** The indices and flags of both sides, for the report of a stall. */
  toString(): string {
    const avail = `idx ${Atomics.load(this.#avail, INDEX)}, flags ${Atomics.load(this.#avail, FLAGS)}`;
    const used = `idx ${Atomics.load(this.#used, INDEX)}, flags ${Atomics.load(this.#used, FLAGS)}`;
    const usedEvent = Atomics.load(this.#avail, this.#usedEventAt);
    const driver = `driver: avail ${avail}, used_event ${usedEvent}, took up to ${this.#nextUsed}`;
    const device = `device: used ${used}, avail_event ${Atomics.load(this.#used, this.#availEventAt)}`;
    return `${driver}; ${device}; ${this.#eventIdx ? 'with' : 'without'} EVENT_IDX`;
  }
}
