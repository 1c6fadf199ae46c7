// virtio-blk requests, §5.2.6. Each request gets one status byte, whatever the driver or the store does.

import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { type MaybePromise, whenDone } from '../../virtio/maybe-promise.ts';
import type { Segments } from '../../virtio/segments.ts';
import { REQUEST_BYTES_MAX } from './block-config.ts';
import { serveRanges } from './block-ranges.ts';
import type { BlockStore } from './block-store.ts';
import { BlockTransfer } from './block-transfer.ts';
import * as blk from './spec.ts';
import { StoreHealth, type StoreHealthContext } from './store-health.ts';

/** Serves the requests of one device instance. */
export class BlockRequests {
  /** The size of the disk. Requests beyond it fail. */
  capacityBytes: number;
  /** Whether each write has to be durable when it completes. */
  writethrough = false;
  /** Bytes of the requests that were in range. */
  readonly bytes = { read: 0, written: 0 };
  readonly #store: BlockStore;
  readonly #transfer: BlockTransfer;
  readonly #alignment: number;
  readonly #serial = new Uint8Array(blk.ID_BYTES);
  readonly #health: StoreHealth;

  /** @param context its log gets a line when the store fails a request, does not answer, or works again. */
  constructor(store: BlockStore, serial: string, context: StoreHealthContext) {
    this.capacityBytes = store.sizeBytes;
    this.#store = store;
    this.#transfer = new BlockTransfer(store);
    this.#alignment = store.alignment ?? blk.SECTOR_BYTES;
    new TextEncoder().encodeInto(serial, this.#serial);
    this.#health = new StoreHealth(store.name, context);
  }

  readonly serve = (chain: DescriptorChain, queue: DeviceQueue): void => {
    const { readable, writable } = chain;
    if (writable.totalBytes === 0) return queue.markUsed(chain, 0); // no room for a status
    if (readable.totalBytes < blk.REQUEST_HEADER_BYTES) return finish(queue, chain, blk.VIRTIO_BLK_S_IOERR, 0);
    const type = readable.uint32(0);
    const sector = readable.uint64(8);
    const written = bytesWritten(type, writable);
    let status: MaybePromise<number>;
    try {
      status = this.#execute(type, sector, chain, queue.signal);
    } catch (error) {
      status = this.#failed(type, sector, error);
    }
    if (typeof status === 'number') return this.#finish(queue, chain, type, status, written);
    const pending = this.#health.requestPending(type, sector * blk.SECTOR_BYTES);
    status
      .catch((error: unknown) => this.#failed(type, sector, error))
      .then((late) => {
        this.#health.requestCompleted(pending);
        this.#finish(queue, chain, type, late, written);
        queue.publish();
      });
  };

  #execute(type: number, sector: number, chain: DescriptorChain, signal: AbortSignal): MaybePromise<number> {
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
        return whenDone(this.#store.flush?.(signal), blk.VIRTIO_BLK_S_OK);
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

  /** Reads or writes bytes [from, to) of `data`. Returns the status. */
  #move(
    data: Segments,
    from: number,
    to: number,
    sector: number,
    isRead: boolean,
    signal: AbortSignal,
  ): MaybePromise<number> {
    const bytes = to - from;
    const offset = sector * blk.SECTOR_BYTES;
    const isAligned = bytes % this.#alignment === 0 && isMultiple(offset, this.#alignment);
    if (!isAligned || offset + bytes > this.capacityBytes || bytes > REQUEST_BYTES_MAX) return blk.VIRTIO_BLK_S_IOERR;
    this.bytes[isRead ? 'read' : 'written'] += bytes;
    return whenDone(this.#transfer.move(data, from, to, offset, isRead, signal), blk.VIRTIO_BLK_S_OK);
  }

  /** In writethrough mode "stable writes are committed before reporting completion", §5.2.6.2. */
  #stable(status: MaybePromise<number>, signal: AbortSignal): MaybePromise<number> {
    if (!this.writethrough || this.#store.flush === undefined) return status;
    if (typeof status !== 'number') return status.then((late) => this.#stable(late, signal));
    return status === blk.VIRTIO_BLK_S_OK ? whenDone(this.#store.flush(signal), status) : status;
  }

  #failed(type: number, sector: number, error: unknown): number {
    this.#health.failed(type, sector * blk.SECTOR_BYTES, error);
    return blk.VIRTIO_BLK_S_IOERR;
  }

  #finish(queue: DeviceQueue, chain: DescriptorChain, type: number, status: number, written: number): void {
    if (this.#health.isFailing && status === blk.VIRTIO_BLK_S_OK) this.#health.succeeded(type);
    finish(queue, chain, status, written);
  }
}

function finish(queue: DeviceQueue, chain: DescriptorChain, status: number, written: number): void {
  chain.writable.setLastByte(status);
  queue.markUsed(chain, status === blk.VIRTIO_BLK_S_OK ? written + 1 : 1);
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
