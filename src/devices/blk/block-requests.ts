// First floor: virtio-blk requests, §5.2.6. One request in, one status byte out, whatever the driver or the store does.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { Virtqueue } from '../../virtio/device-queue.ts';
import type { Segments } from '../../virtio/segments.ts';
import { move, movePieces } from './block-pieces.ts';
import { serveRanges } from './block-ranges.ts';
import type { BlockStore, MaybePromise } from './block-store.ts';
import * as blk from './spec.ts';
import { causeOf, settle } from './store-answer.ts';

export class BlockRequests {
  capacityBytes: number;
  /** Whether each write is to be durable when it completes. */
  writethrough = false;
  /** Moved for requests that were in range. */
  readonly bytes = { read: 0, written: 0 };
  readonly #store: BlockStore;
  readonly #serial = new Uint8Array(blk.ID_BYTES);
  readonly #onError: ((line: string) => void) | undefined;

  /** @param onError told a line for each request that the store failed. */
  constructor(store: BlockStore, serial: string, onError: ((line: string) => void) | undefined) {
    this.capacityBytes = store.sizeBytes;
    this.#store = store;
    new TextEncoder().encodeInto(serial, this.#serial);
    this.#onError = onError;
  }

  readonly serve = (chain: DescriptorChain, queue: Virtqueue): void => {
    const { readable, writable } = chain;
    if (writable.totalBytes === 0) return queue.markUsed(chain, 0); // nowhere to put a status
    writable.reserveLast();
    if (readable.totalBytes < blk.REQUEST_HEADER_BYTES) return finish(queue, chain, blk.VIRTIO_BLK_S_IOERR, 0);
    const type = readable.uint32(0);
    const sector = readable.uint64(8);
    readable.dropFront(blk.REQUEST_HEADER_BYTES);
    const written = bytesWritten(type, writable);
    let status: MaybePromise<number>;
    try {
      status = this.#execute(type, sector, chain);
    } catch (error) {
      status = this.#failed(type, sector, error);
    }
    if (typeof status === 'number') return finish(queue, chain, status, written);
    status
      .catch((error: unknown) => this.#failed(type, sector, error))
      .then((late) => {
        finish(queue, chain, late, written);
        queue.publish();
      });
  };

  #execute(type: number, sector: number, { readable, writable }: DescriptorChain): MaybePromise<number> {
    switch (type) {
      case blk.VIRTIO_BLK_T_IN:
        return this.#transfer(writable, sector, true);
      case blk.VIRTIO_BLK_T_OUT:
        if (this.#store.write === undefined) return blk.VIRTIO_BLK_S_IOERR;
        return this.#stable(this.#transfer(readable, sector, false));
      case blk.VIRTIO_BLK_T_FLUSH:
        return settle(this.#store.flush?.());
      case blk.VIRTIO_BLK_T_GET_ID:
        writable.copyFrom(this.#serial);
        return blk.VIRTIO_BLK_S_OK;
      case blk.VIRTIO_BLK_T_DISCARD:
      case blk.VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#stable(serveRanges(type, readable, this.#store, this.capacityBytes));
      default:
        return blk.VIRTIO_BLK_S_UNSUPP;
    }
  }

  /** Moves a request's data: in one call if it is in one piece or the store takes several, else piece by piece. */
  #transfer(data: Segments, sector: number, isRead: boolean): MaybePromise<number> {
    const { totalBytes, count } = data;
    const offset = sector * blk.SECTOR_BYTES;
    if (totalBytes % blk.SECTOR_BYTES !== 0 || offset + totalBytes > this.capacityBytes) return blk.VIRTIO_BLK_S_IOERR;
    this.bytes[isRead ? 'read' : 'written'] += totalBytes;
    const store = this.#store;
    if (count === 1) return settle(move(store, offset, data.view(0), isRead));
    if (count > 1 && isRead && store.readv) return settle(store.readv(offset, data.views()));
    if (count > 1 && !isRead && store.writev) return settle(store.writev(offset, data.views()));
    return settle(movePieces(store, offset, data, isRead));
  }

  /** In writethrough mode "stable writes are committed before reporting completion", §5.2.6.2. */
  #stable(status: MaybePromise<number>): MaybePromise<number> {
    if (!this.writethrough || this.#store.flush === undefined) return status;
    if (typeof status === 'number') return status === blk.VIRTIO_BLK_S_OK ? settle(this.#store.flush()) : status;
    return status.then((late) => this.#stable(late));
  }

  #failed(type: number, sector: number, error: unknown): number {
    const store = this.#store.name ?? 'of this disk';
    const place = `request type ${type} at offset ${sector * blk.SECTOR_BYTES}`;
    this.#onError?.(`store ${store}: ${place} failed: ${causeOf(error)}`);
    return blk.VIRTIO_BLK_S_IOERR;
  }
}

function finish(queue: Virtqueue, chain: DescriptorChain, status: number, written: number): void {
  chain.writable.putLast(status);
  queue.markUsed(chain, status === blk.VIRTIO_BLK_S_OK ? written + 1 : 1);
}

/** What a request of this type writes before its status byte, if it succeeds. */
function bytesWritten(type: number, { totalBytes }: Segments): number {
  if (type === blk.VIRTIO_BLK_T_IN) return totalBytes;
  return type === blk.VIRTIO_BLK_T_GET_ID ? Math.min(totalBytes, blk.ID_BYTES) : 0;
}
