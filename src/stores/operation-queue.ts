// stores: the operations of one thread on one image: staged, submitted together to a ring, completed later.
import type { DevicePollable, StoreLoop } from '../devices/blk/block-store.ts';
import type { IoRequest, OperationRing } from '../sys/operation-ring.ts';

/** An operation of an image. It puts itself into the ring, more than once if it takes several steps. */
export interface QueuedOperation extends IoRequest {
  /** Puts its next step into `ring`, which has room. */
  put(ring: OperationRing): void;
}

/**
 * Runs operations on a ring. What starts in one turn of the loop is submitted with one system call at its end;
 * completions are taken from the ring while the loop polls, and when the ring is readable otherwise.
 */
export class OperationQueue implements DevicePollable {
  readonly #ring: OperationRing;
  readonly #loop: StoreLoop;
  readonly #watch: Disposable;
  /** Operations for which the ring has no room. Bounded by what the device has in flight. */
  readonly #waiting: QueuedOperation[] = [];
  readonly #signals = new WeakSet<AbortSignal>();
  #polled = false;
  /** Whether operations that ended at the last look at the completions may have left promises to settle. */
  #leftPromises = false;
  #reaped = 0;

  /** @param ring is disposed by `close`. */
  constructor(ring: OperationRing, loop: StoreLoop) {
    this.#ring = ring;
    this.#loop = loop;
    this.#watch = loop.watch(ring.fd, { readable: this.#onReadable, pollable: this });
  }

  readonly #onReadable = (): void => {
    this.#ring.woken();
    this.#reap();
  };

  /** What is staged is submitted before the loop sleeps. */
  get awaitsKernel(): boolean {
    return this.#ring.inFlight > 0;
  }

  get isSettled(): boolean {
    return !this.#leftPromises;
  }

  /** An operation ends for which somebody may wait by a promise. */
  leavesPromise(): void {
    this.#leftPromises = true;
  }

  /** Starts an operation: it is in the ring, or waits for room. @param signal cancels all operations when aborted. */
  start(operation: QueuedOperation, signal?: AbortSignal): void {
    if (signal !== undefined && !this.#signals.has(signal)) this.#cancelOn(signal);
    if (this.#waiting.length > 0 || this.#ring.room === 0) this.#waiting.push(operation);
    else operation.put(this.#ring);
    if (!this.#polled) this.#loop.soon(this.#submit, this);
  }

  /** One signal for all requests of a run of a queue: one listener. */
  #cancelOn(signal: AbortSignal): void {
    this.#signals.add(signal);
    signal.addEventListener('abort', () => this.#ring.cancelAll(), { once: true });
  }

  /** Reads from the page cache complete while they are submitted. */
  readonly #submit = (): void => {
    this.#ring.submit();
    this.#reap();
  };

  poll(): boolean {
    if (this.#ring.staged > 0) this.#ring.submit();
    return this.#reap();
  }

  suppress(): void {
    this.#polled = true;
  }

  rearm(): boolean {
    this.#polled = false;
    this.#ring.submit();
    return true;
  }

  /** Completes what the kernel has completed, then puts what waited into the ring. Returns whether there was any. */
  #reap(): boolean {
    this.#leftPromises = false;
    let hasCompleted = false;
    while (this.#reapBatch() > 0) {
      hasCompleted = true;
      if (this.#waiting.length === 0) break;
      while (this.#waiting.length > 0 && this.#ring.room > 0) this.#waiting.shift()?.put(this.#ring);
      this.#ring.submit();
    }
    if (this.#ring.staged > 0 && !this.#polled) this.#loop.soon(this.#submit, this);
    return hasCompleted;
  }

  #reapBatch(): number {
    if (this.#loop.batch === undefined) return this.#ring.reap();
    this.#loop.batch(this.#reapRing);
    return this.#reaped;
  }

  readonly #reapRing = (): void => {
    this.#reaped = this.#ring.reap();
  };

  /** Waits for the operations that are in flight, though there should be none, and frees the ring. */
  close(): void {
    this.#watch[Symbol.dispose]();
    this.#ring[Symbol.dispose]();
  }
}
