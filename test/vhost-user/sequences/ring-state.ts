// test/vhost-user/sequences: what the front end of a replay has sent about a ring, and where the ring starts next.
import type { DriverMemory } from '../../../src/testing/driver-memory.ts';
import { ReplayedRing } from './replayed-ring.ts';

export class RingState {
  readonly index: number;
  size = 0;
  isEnabled = false;
  /** Names of the descriptors of the last SET_VRING_KICK and SET_VRING_CALL. */
  kick: string | undefined;
  call: string | undefined;
  ring: ReplayedRing | undefined;
  /** The used index when it was stopped, which must not move; undefined while it may. */
  stoppedAt: number | undefined;
  /** The base from which a ring that the driver set up again starts next. */
  #freshStart: number | undefined;
  /** What GET_VRING_BASE answered in the recording, and to us. */
  readonly #answers = new Map<number, number>();
  #lastRecorded: number | undefined;

  constructor(index: number) {
    this.index = index;
  }

  /** Everything it needs has been sent. */
  get isRunning(): boolean {
    return this.ring !== undefined && this.kick !== undefined && this.isEnabled;
  }

  /** A front end's SET_VRING_BASE: the base to send, for that which was recorded. */
  baseFor(recorded: number): number {
    if (recorded === 0 || this.ring === undefined) {
      this.#freshStart = recorded;
      return recorded;
    }
    const ours = this.#answers.get(recorded);
    // The back end was lost before GET_VRING_BASE: a front end takes the used index.
    if (ours === undefined) return this.ring.usedIndex;
    // An older state of the machine has been loaded, and with it what its rings were.
    if (recorded !== this.#lastRecorded) this.#freshStart = ours;
    return ours;
  }

  /** A back end's answer to GET_VRING_BASE. */
  answered(recorded: number, ours: number): void {
    this.#answers.set(recorded, ours);
    this.#lastRecorded = recorded;
  }

  /** A front end's SET_VRING_ADDR: returns the ring at that address, and the one that it replaces. */
  place(memory: DriverMemory, features: bigint): { ring: ReplayedRing; replaced: ReplayedRing | undefined } {
    const start = this.#freshStart;
    if (this.ring !== undefined && start === undefined) return { ring: this.ring, replaced: undefined };
    const replaced = this.ring;
    this.ring = new ReplayedRing(memory, { size: this.size, features, start: start ?? 0 });
    this.#freshStart = undefined;
    this.stoppedAt = undefined;
    return { ring: this.ring, replaced };
  }
}
