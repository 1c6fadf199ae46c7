// bench/handoff: another design on purpose: the old worker takes each request from the locked queue, two locks each.

import { VIRTIO_BLK_S_OK } from '../../src/devices/blk/spec.ts';
import type { BlockStore } from '../../src/index.ts';
import type { Mapping } from '../../src/sys/mapping.ts';
import { SplitNotification } from '../../src/virtio/split/split-notification.ts';
import { SplitRing } from '../../src/virtio/split/split-ring.ts';
import type { QueuePlan } from '../load/queue-plan.ts';
import { areasOf, ringFeatures } from '../threads/ring-memory.ts';
import type { StopWord } from '../threads/shared-queue.ts';
import type { ParsedRead, RequestQueue } from './request-queue.ts';

export interface HandedWorkerParts {
  readonly memory: Mapping;
  readonly plan: QueuePlan;
  readonly eventIdx: boolean;
  readonly requests: RequestQueue;
  readonly store: BlockStore;
  /** Notifies the driver. */
  readonly call: () => void;
}

export class HandedWorker {
  requests = 0;
  wakeUps = 0;
  readonly #ring: SplitRing;
  readonly #notification: SplitNotification;
  readonly #queue: RequestQueue;
  readonly #store: BlockStore;
  readonly #call: () => void;
  readonly #memory: Mapping;
  #used = 0;
  #called = 0;

  constructor({ memory, plan, eventIdx, requests, store, call }: HandedWorkerParts) {
    this.#memory = memory;
    this.#ring = new SplitRing(plan.size, areasOf(memory, plan));
    this.#notification = new SplitNotification(this.#ring, ringFeatures(eventIdx));
    this.#queue = requests;
    this.#store = store;
    this.#call = call;
  }

  /** Serves until stopped and signalled. */
  run(stop: StopWord): void {
    const request: ParsedRead = { head: 0, offset: 0, data: 0, length: 0, status: 0 };
    while (this.#take(request, stop)) {
      this.#serve(request);
      // The driver is called when there is nothing left to do, as the old design did.
      if (this.#isIdle()) this.#callDriver();
    }
  }

  #take(request: ParsedRead, stop: StopWord): boolean {
    const { monitor } = this.#queue;
    monitor.lock();
    while (this.#queue.isEmpty && !stop.isSet) {
      monitor.wait();
      this.wakeUps++;
    }
    const found = !this.#queue.isEmpty;
    if (found) this.#queue.shift(request);
    monitor.unlock();
    return found;
  }

  #serve({ head, offset, data, length, status }: ParsedRead): void {
    const { bytes } = this.#memory;
    // A store in memory returns synchronously.
    this.#store.read(offset, new Uint8Array(bytes.buffer, data, length));
    bytes[status] = VIRTIO_BLK_S_OK;
    this.#ring.setUsed(this.#used, head, length + 1);
    this.#used = (this.#used + 1) & 0xffff;
    this.#ring.setUsedIndex(this.#used);
    this.requests++;
  }

  #isIdle(): boolean {
    const { monitor } = this.#queue;
    monitor.lock();
    const idle = this.#queue.isEmpty;
    monitor.unlock();
    return idle;
  }

  #callDriver(): void {
    const wanted = this.#notification.wantsCall(this.#called, this.#used);
    this.#called = this.#used;
    if (wanted) this.#call();
  }
}
