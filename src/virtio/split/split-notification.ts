// virtio: notification suppression of a split virtqueue, by EVENT_IDX or by flags (§2.7.7, §2.7.10).
import { VIRTIO_F_EVENT_IDX } from '../spec.ts';
import type { SplitRing } from './split-ring.ts';

/** Which notifications the device wants, and which the driver wants. */
export class SplitNotification {
  readonly #ring: SplitRing;
  readonly #eventIdx: boolean;
  #firstCall = true;

  constructor(ring: SplitRing, features: bigint) {
    this.#ring = ring;
    this.#eventIdx = (features & VIRTIO_F_EVENT_IDX) !== 0n;
    ring.setWantsKicks(true);
  }

  /** Asks the driver for no notifications. A hint: the driver may have read the flags already. */
  disable(): void {
    // With EVENT_IDX an old avail_event suppresses by itself.
    if (!this.#eventIdx) this.#ring.setWantsKicks(false);
  }

  /** Suppresses notifications until `enable`: also withdraws the one already requested for `nextAvail`. */
  silence(nextAvail: number): void {
    if (this.#eventIdx) this.#ring.setAvailEvent((nextAvail - 1) & 0xffff);
    else this.#ring.setWantsKicks(false);
  }

  /**
   * Asks the driver for a notification of the request at `nextAvail`. Returns true when that is available already, and
   * may not be notified. Both sides store and then load, with a full barrier between: at least one sees the other's
   * store.
   */
  enable(nextAvail: number): boolean {
    if (this.#eventIdx) this.#ring.setAvailEvent(nextAvail);
    else this.#ring.setWantsKicks(true);
    return this.#ring.availableIndex() !== nextAvail;
  }

  /**
   * Whether the driver wants a notification for the used index going from `before` to `now`. Call it after the store,
   * §2.7.7.2.
   */
  wantsCall(before: number, now: number): boolean {
    if (!this.#eventIdx) return this.#ring.wantsInterrupts();
    // Completions from before this queue was started may not have been notified; a spurious notification is harmless.
    const first = this.#firstCall;
    this.#firstCall = false;
    return ((now - this.#ring.usedEvent() - 1) & 0xffff) < ((now - before) & 0xffff) || first;
  }
}
