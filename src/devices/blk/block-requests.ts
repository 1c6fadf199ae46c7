// virtio-blk requests, §5.2.6. Each request gets one status byte, whatever the driver or the store does.

import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { type MaybePromise, whenDone } from '../../virtio/maybe-promise.ts';
import type { Segments } from '../../virtio/segments.ts';
import { type BlockDeviceOptions, REQUEST_BYTES_MAX } from './block-config.ts';
import { BlockCounts } from './block-counts.ts';
import { serveRanges } from './block-ranges.ts';
import type { BlockStore, Completion } from './block-store.ts';
import { BlockTransfer } from './block-transfer.ts';
import { actionFor, type ErrorPolicy } from './error-policy.ts';
import { HeldRequests, type OpenRequest } from './held-requests.ts';
import * as blk from './spec.ts';
import { StoreHealth, type StoreHealthContext } from './store-health.ts';

/** Of a request that is too short to have a type. */
const NO_TYPE = -1;

/** Serves the requests of one device instance. */
export class BlockRequests {
  /** The size of the disk. Requests beyond it fail. */
  capacityBytes: number;
  /** Whether each write has to be durable when it completes. */
  writethrough = false;
  readonly counts = new BlockCounts();
  readonly #store: BlockStore;
  readonly #transfer: BlockTransfer;
  readonly #alignment: number;
  readonly #serial = new Uint8Array(blk.ID_BYTES);
  readonly #health: StoreHealth;
  readonly #onError: ErrorPolicy;
  readonly #held: HeldRequests;
  /** Of the next request that is not completed at once. */
  #order = 0;
  #isBatch = false;
  /** Queues with requests that were finished in the batch. */
  readonly #unpublished = new Set<DeviceQueue>();
  /** Requests whose status is a promise. */
  #promised = 0;

  /** @param context its log gets a line when the store fails a request, does not answer, or works again. */
  constructor(store: BlockStore, options: BlockDeviceOptions, context: StoreHealthContext) {
    this.capacityBytes = store.sizeBytes;
    this.#store = store;
    this.#transfer = new BlockTransfer(store);
    this.#alignment = store.alignment ?? blk.SECTOR_BYTES;
    new TextEncoder().encodeInto(options.serial ?? 'belfry', this.#serial);
    this.#health = new StoreHealth(store.name, context);
    this.#onError = options.onError ?? {};
    this.#held = new HeldRequests(this.#health, {
      retry: (request) => this.#retry(request),
      fail: ({ chain, queue, type }) => {
        this.#complete(queue, chain, type, blk.VIRTIO_BLK_S_IOERR);
        queue.publish();
      },
      timer: (delayMs, task) => context.timer(delayMs, task),
    });
  }

  readonly serve = (chain: DescriptorChain, queue: DeviceQueue): void => {
    const { readable, writable } = chain;
    if (writable.totalBytes === 0) return queue.markUsed(chain, 0); // no room for a status
    if (readable.totalBytes < blk.REQUEST_HEADER_BYTES)
      return this.#complete(queue, chain, NO_TYPE, blk.VIRTIO_BLK_S_IOERR);
    const type = readable.uint32(0);
    const sector = readable.uint64(8);
    if (this.#held.holdsWrites && mustNotOvertake(type)) return this.#held.wait(this.#open(chain, queue, type, sector));
    let status: MaybePromise<number> | Completion;
    try {
      status = this.#execute(type, sector, chain, queue.signal);
    } catch (error) {
      return this.#failed(this.#open(chain, queue, type, sector), error);
    }
    if (typeof status === 'number') return this.#finish(queue, chain, type, status);
    if (isCompletion(status)) return this.#listen(this.#open(chain, queue, type, sector), status);
    void this.#finishLater(this.#open(chain, queue, type, sector), status);
  };

  #open(chain: DescriptorChain, queue: DeviceQueue, type: number, sector: number): OpenRequest {
    return { chain, queue, type, sector, order: this.#order++ };
  }

  /** Serves a request that was held. */
  #retry(request: OpenRequest): MaybePromise<void> {
    const { chain, queue, type, sector } = request;
    let status: MaybePromise<number> | Completion;
    try {
      status = this.#execute(type, sector, chain, queue.signal);
    } catch (error) {
      this.#failed(request, error);
      return queue.publish();
    }
    if (isCompletion(status)) status = whenDone(status, blk.VIRTIO_BLK_S_OK);
    if (typeof status !== 'number') return this.#finishLater(request, status);
    this.#finish(queue, chain, type, status);
    queue.publish();
  }

  /** Tries again what is held after an error of the store. */
  retryHeld(): void {
    this.#held.retry();
  }

  /** See `HeldRequests.unrecorded`. */
  get heldUnrecorded(): number {
    return this.#held.unrecorded;
  }

  /** Leaves to another process what is held after an error of the store. */
  passOn(): void {
    this.#held.passOn();
  }

  /** Executes a request. Returns its status; a `Completion` stands for the status OK. */
  #execute(
    type: number,
    sector: number,
    chain: DescriptorChain,
    signal: AbortSignal,
  ): MaybePromise<number> | Completion {
    const { readable, writable } = chain;
    switch (type) {
      case blk.VIRTIO_BLK_T_IN:
        return this.#move(writable, 0, writable.totalBytes - 1, sector, true, signal);
      case blk.VIRTIO_BLK_T_OUT:
        if (this.#store.write === undefined) return blk.VIRTIO_BLK_S_IOERR;
        return this.#stable(
          this.#move(readable, blk.REQUEST_HEADER_BYTES, readable.totalBytes, sector, false, signal),
          signal,
        );
      case blk.VIRTIO_BLK_T_FLUSH:
        return this.#flush(signal);
      case blk.VIRTIO_BLK_T_GET_ID:
        writable.copyFrom(this.#serial.subarray(0, writable.totalBytes - 1));
        return blk.VIRTIO_BLK_S_OK;
      case blk.VIRTIO_BLK_T_DISCARD:
      case blk.VIRTIO_BLK_T_WRITE_ZEROES: {
        const { capacityBytes } = this;
        return this.#stable(serveRanges({ type, readable, store: this.#store, capacityBytes, signal }), signal);
      }
      default:
        return blk.VIRTIO_BLK_S_UNSUPP;
    }
  }

  /** Reads or writes bytes [from, to) of `data`. Returns the status, as `#execute`. */
  #move(
    data: Segments,
    from: number,
    to: number,
    sector: number,
    isRead: boolean,
    signal: AbortSignal,
  ): MaybePromise<number> | Completion {
    const bytes = to - from;
    const offset = sector * blk.SECTOR_BYTES;
    const isAligned = bytes % this.#alignment === 0 && isMultiple(offset, this.#alignment);
    if (!isAligned || offset + bytes > this.capacityBytes || bytes > REQUEST_BYTES_MAX) return blk.VIRTIO_BLK_S_IOERR;
    this.counts.addBytes(isRead, bytes);
    const answer = this.#transfer.move(data, from, to, offset, isRead, signal);
    // The usual case first: it was done at once.
    if (answer === undefined) return blk.VIRTIO_BLK_S_OK;
    return isCompletion(answer) ? answer : whenDone(answer, blk.VIRTIO_BLK_S_OK);
  }

  /** In writethrough mode "stable writes are committed before reporting completion", §5.2.6.2. */
  #stable(status: MaybePromise<number> | Completion, signal: AbortSignal): MaybePromise<number> | Completion {
    if (!this.writethrough || this.#store.flush === undefined) return status;
    const flushIfOk = (late: number): MaybePromise<number> =>
      late === blk.VIRTIO_BLK_S_OK ? this.#flush(signal) : late;
    if (typeof status === 'number') return flushIfOk(status);
    const later: PromiseLike<number> = isCompletion(status) ? status.then(() => blk.VIRTIO_BLK_S_OK) : status;
    return later.then<number>(flushIfOk);
  }

  /** Its failure is a status, no error: the request must not be tried again, see `ErrorPolicy`. */
  #flush(signal: AbortSignal): MaybePromise<number> {
    try {
      const answer = whenDone(this.#store.flush?.(signal), blk.VIRTIO_BLK_S_OK);
      if (typeof answer !== 'number') return answer.then(this.#flushed, this.#flushFailed);
    } catch (error) {
      return this.#flushFailed(error);
    }
    return this.#flushed();
  }

  readonly #flushed = (): number => {
    if (this.#health.isFailing) this.#health.succeeded(blk.VIRTIO_BLK_T_FLUSH);
    return blk.VIRTIO_BLK_S_OK;
  };

  readonly #flushFailed = (error: unknown): number => {
    const isIgnored = actionFor(this.#onError, blk.VIRTIO_BLK_T_FLUSH, error) === 'ignore';
    this.#health[isIgnored ? 'ignored' : 'failed'](blk.VIRTIO_BLK_T_FLUSH, 0, error);
    return isIgnored ? blk.VIRTIO_BLK_S_OK : blk.VIRTIO_BLK_S_IOERR;
  };

  #finish(queue: DeviceQueue, chain: DescriptorChain, type: number, status: number): void {
    if (this.#health.isFailing && status === blk.VIRTIO_BLK_S_OK) this.#health.succeeded(type);
    this.#complete(queue, chain, type, status);
  }

  #complete(queue: DeviceQueue, chain: DescriptorChain, type: number, status: number): void {
    this.counts.add(type, status);
    chain.writable.setLastByte(status);
    queue.markUsed(chain, status === blk.VIRTIO_BLK_S_OK ? bytesWritten(type, chain.writable) + 1 : 1);
  }

  /** Finishes a request when its completion is reported. */
  #listen(request: OpenRequest, completion: Completion): void {
    const { chain, queue, type, sector } = request;
    const pending = this.#health.requestPending(type, sector * blk.SECTOR_BYTES);
    completion.listen({
      completed: (error) => {
        this.#health.requestCompleted(pending);
        if (error === undefined) this.#finish(queue, chain, type, blk.VIRTIO_BLK_S_OK);
        else this.#failed(request, error);
        if (this.#isBatch) this.#unpublished.add(queue);
        else queue.publish();
      },
    });
  }

  /** See `StoreLoop.batch`. */
  batch(complete: () => void): void {
    this.#isBatch = true;
    try {
      complete();
    } finally {
      this.#isBatch = false;
      for (const queue of this.#unpublished) queue.publish();
      this.#unpublished.clear();
    }
  }

  /** Finishes a request when the promise of its status has settled. */
  #finishLater(request: OpenRequest, status: PromiseLike<number>): PromiseLike<void> {
    const { chain, queue, type, sector } = request;
    const pending = this.#health.requestPending(type, sector * blk.SECTOR_BYTES);
    this.#promised++;
    const done = (): void => {
      this.#promised--;
      this.#health.requestCompleted(pending);
    };
    return status.then(
      (late) => {
        done();
        this.#finish(queue, chain, type, late);
        queue.publish();
      },
      (error: unknown) => {
        done();
        this.#failed(request, error);
        queue.publish();
      },
    );
  }

  /** Whether no promise of a request is pending. */
  get isSettled(): boolean {
    return this.#promised === 0;
  }

  /** The store failed a request: finishes it or holds it. */
  #failed(request: OpenRequest, error: unknown): void {
    const { chain, queue, type, sector } = request;
    const action = actionFor(this.#onError, type, error);
    if (action === 'hold' && !queue.signal.aborted) {
      // It is counted when it is tried again.
      if (type === blk.VIRTIO_BLK_T_IN) this.counts.addBytes(true, 1 - chain.writable.totalBytes);
      if (type === blk.VIRTIO_BLK_T_OUT)
        this.counts.addBytes(false, blk.REQUEST_HEADER_BYTES - chain.readable.totalBytes);
      return this.#held.hold(request, error);
    }
    const offset = sector * blk.SECTOR_BYTES;
    if (action === 'ignore') {
      this.#health.ignored(type, offset, error);
      // The used length says that all of it was written.
      if (type === blk.VIRTIO_BLK_T_IN) for (const piece of chain.writable.views()) piece.fill(0);
      return this.#complete(queue, chain, type, blk.VIRTIO_BLK_S_OK);
    }
    this.#health.failed(type, offset, error);
    this.#complete(queue, chain, type, blk.VIRTIO_BLK_S_IOERR);
  }
}

/** Whether a store's answer reports its end to a listener. */
function isCompletion(answer: unknown): answer is Completion {
  return typeof (answer as Completion | undefined)?.listen === 'function';
}

/** Whether a request waits while a write is held. */
function mustNotOvertake(type: number): boolean {
  switch (type) {
    case blk.VIRTIO_BLK_T_OUT:
    case blk.VIRTIO_BLK_T_FLUSH:
    case blk.VIRTIO_BLK_T_DISCARD:
    case blk.VIRTIO_BLK_T_WRITE_ZEROES:
      return true;
    default:
      return false;
  }
}

/** Without `%`, which for numbers beyond 2^31 is a call into C. `unit` is a power of two, so the quotient is exact. */
function isMultiple(offset: number, unit: number): boolean {
  return Number.isInteger(offset / unit);
}

/** The bytes that a successful request of this type writes before its status byte. */
function bytesWritten(type: number, { totalBytes }: Segments): number {
  if (type === blk.VIRTIO_BLK_T_IN) return totalBytes - 1;
  return type === blk.VIRTIO_BLK_T_GET_ID ? Math.min(totalBytes - 1, blk.ID_BYTES) : 0;
}
