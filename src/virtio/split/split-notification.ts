// Cellar: which notifications a split virtqueue asks for and owes: by EVENT_IDX where negotiated, by flags where not (§2.7.7, §2.7.10).
import { VIRTIO_F_EVENT_IDX } from '../spec.ts';
import type { SplitRing } from './split-ring.ts';

export class SplitNotification {
  readonly #ring: SplitRing;
  readonly #eventIdx: boolean;
  #firstCall = true;

  constructor(ring: SplitRing, features: bigint) {
    this.#ring = ring;
    this.#eventIdx = (features & VIRTIO_F_EVENT_IDX) !== 0n;
    ring.setWantsKicks(true);
  }

  /** Asks the driver for no notifications. A hint: the driver may have looked already. */
  disable(): void {
    // With EVENT_IDX an old avail_event suppresses by itself.
    if (!this.#eventIdx) this.#ring.setWantsKicks(false);
  }

  /** Asks for none until `enable`: also withdraws the notification already requested for `nextAvail`. */
  silence(nextAvail: number): void {
    if (this.#eventIdx) this.#ring.setAvailEvent((nextAvail - 1) & 0xffff);
    else this.#ring.setWantsKicks(false);
  }

  /**
   * Asks the driver to notify us of the request at `nextAvail`. Returns true when it is there already, and no notification may come.
   * We store and then load, the driver stores and then loads, each with a full barrier between: one of us sees the other's store.
   */
  enable(nextAvail: number): boolean {
    if (this.#eventIdx) this.#ring.setAvailEvent(nextAvail);
    else this.#ring.setWantsKicks(true);
    return this.#ring.availableIndex() !== nextAvail;
  }

  /** Whether the driver wants to be notified that the used index went from `before` to `now`. Asked after storing it, §2.7.7.2. */
  wantsCall(before: number, now: number): boolean {
    if (!this.#eventIdx) return this.#ring.wantsInterrupts();
    // Whoever started the queue may have missed earlier completions: one spurious notification is harmless.
    const first = this.#firstCall;
    this.#firstCall = false;
    return ((now - this.#ring.usedEvent() - 1) & 0xffff) < ((now - before) & 0xffff) || first;
  }
}
