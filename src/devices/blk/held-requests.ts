// virtio-blk: requests that the store failed and that are tried again, with the writes that wait behind them.

import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import type { MaybePromise } from '../../virtio/maybe-promise.ts';
import { isFull } from './error-policy.ts';
import * as blk from './spec.ts';
import type { StoreHealth } from './store-health.ts';

/** How often a request is tried again that failed with ENOSPC. */
const RETRY_MS = 1000;

/** A request that is not completed. Its header was read once; the driver may have changed it since. */
export interface OpenRequest {
  readonly chain: DescriptorChain;
  readonly queue: DeviceQueue;
  readonly type: number;
  readonly sector: number;
  /** Counts up in the order in which the driver made the requests available. */
  readonly order: number;
}

/** What happens to a request that is held. */
export interface HeldRequestsSteps {
  /** Serves it again. It is passed to `hold` if that fails again. */
  readonly retry: (request: OpenRequest) => MaybePromise<void>;
  /** Fails it: its queue has to stop. */
  readonly fail: (request: OpenRequest) => void;
  /** As `DeviceContext.timer`. */
  readonly timer: (delayMs: number, task: () => void) => unknown;
}

/**
 * The requests of one device instance that are held. A read is held alone. Behind a write (or discard, or write of
 * zeroes) that is held, all later ones and flushes wait.
 */
export class HeldRequests {
  /** Whether a request that is no read has to `wait`. */
  holdsWrites = false;
  readonly #steps: HeldRequestsSteps;
  readonly #health: StoreHealth;
  /** Both in the order of the driver. */
  #reads: OpenRequest[] = [];
  #writes: OpenRequest[] = [];
  /** Requests that are being tried again. */
  #tried = 0;
  #isRetryingWrites = false;
  #isTimerSet = false;
  #isPassedOn = false;
  readonly #signals = new WeakSet<AbortSignal>();

  constructor(health: StoreHealth, steps: HeldRequestsSteps) {
    this.#health = health;
    this.#steps = steps;
  }

  /** Takes a request that failed with `error`. */
  hold(request: OpenRequest, error: unknown): void {
    const isRead = request.type === blk.VIRTIO_BLK_T_IN;
    if (!isRead) this.holdsWrites = true;
    if (this.#leaves(request)) return;
    insert(isRead ? this.#reads : this.#writes, request);
    const isTimed = !isRead && isFull(error);
    if (isTimed) this.#retryLater();
    this.#failOnAbort(request.queue.signal);
    this.#health.held(request.type, request.sector * blk.SECTOR_BYTES, error, isTimed);
  }

  /** Takes a request that must not overtake the writes that are held. */
  wait(request: OpenRequest): void {
    if (this.#leaves(request)) return;
    insert(this.#writes, request);
    this.#failOnAbort(request.queue.signal);
  }

  /** How many requests are held whose queue is not recorded. */
  get unrecorded(): number {
    return [...this.#reads, ...this.#writes].filter(({ queue }) => !queue.isRecorded).length;
  }

  /**
   * Another process goes on: leaves to it what is held, and what would be from now on. A request whose queue is not
   * recorded stays.
   */
  passOn(): void {
    this.#isPassedOn = true;
    this.#reads = this.#reads.filter((request) => !this.#leaves(request));
    this.#writes = this.#writes.filter((request) => !this.#leaves(request));
  }

  #leaves({ chain, queue }: OpenRequest): boolean {
    if (!this.#isPassedOn || !queue.isRecorded) return false;
    queue.leave(chain);
    return true;
  }

  #retryLater(): void {
    if (this.#isTimerSet) return;
    this.#isTimerSet = true;
    this.#steps.timer(RETRY_MS, () => {
      this.#isTimerSet = false;
      if (this.#isRetryingWrites) this.#retryLater();
      else void this.#retryWrites();
    });
  }

  /** The user says that the store works again: tries everything that is held. A failure is logged again. */
  retry(): void {
    this.#health.heldAreRetried();
    for (const read of this.#reads.splice(0)) void this.#try(read);
    void this.#retryWrites();
  }

  /**
   * Tries the writes one after the other: a write that fails again stays ahead of the others, and a flush covers the
   * writes before it. The driver goes on meanwhile, and its requests wait. They are served all together at the end:
   * served one by one, there would be always another one.
   */
  async #retryWrites(): Promise<void> {
    if (this.#isRetryingWrites || this.#isPassedOn) return;
    this.#isRetryingWrites = true;
    for (let left = this.#writes.length; left > 0; left--) {
      const first = this.#writes.shift();
      if (first === undefined) break;
      await this.#try(first);
      // Nor may another write overtake one that was left.
      if (this.#writes[0] !== first && !this.#isPassedOn) continue;
      this.#isRetryingWrites = false;
      return;
    }
    this.#isRetryingWrites = this.holdsWrites = false;
    for (const next of this.#writes.splice(0)) {
      if (this.holdsWrites) this.wait(next);
      else void this.#try(next);
    }
    this.#logIfOver();
  }

  async #try(request: OpenRequest): Promise<void> {
    this.#tried++;
    await this.#steps.retry(request);
    this.#tried--;
    this.#logIfOver();
  }

  #logIfOver(): void {
    if (this.#tried + this.#reads.length + this.#writes.length === 0) this.#health.noneHeld();
  }

  #failOnAbort(signal: AbortSignal): void {
    if (this.#signals.has(signal)) return;
    this.#signals.add(signal);
    signal.addEventListener('abort', () => this.#fail(signal), { once: true });
  }

  /** Fails the requests of a queue that has to stop. */
  #fail(signal: AbortSignal): void {
    const isGone = ({ queue }: OpenRequest): boolean => queue.signal === signal;
    const gone = [...this.#reads, ...this.#writes].filter(isGone).sort((a, b) => a.order - b.order);
    if (gone.length === 0) return;
    this.#reads = this.#reads.filter((request) => !isGone(request));
    this.#writes = this.#writes.filter((request) => !isGone(request));
    this.#health.heldAreFailed(gone.length);
    for (const request of gone) this.#steps.fail(request);
    // What is left may have waited behind a request that is gone.
    void this.#retryWrites();
  }
}

/** Inserts by `order`. Most requests belong at the end. */
function insert(list: OpenRequest[], request: OpenRequest): void {
  list.splice(list.findLastIndex(({ order }) => order < request.order) + 1, 0, request);
}
