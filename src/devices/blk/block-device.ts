// First floor: virtio-blk, §5.2. One request in, one status byte out, whatever the driver or the store does.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import type { Segments } from '../../virtio/segments.ts';
import { QUEUE_SIZE_MAX, VIRTIO_ID_BLOCK } from '../../virtio/spec.ts';
import type { Virtqueue } from '../../virtio/virtqueue.ts';
import {
  type BlockDeviceOptions,
  blockFeatures,
  QUEUES_DEFAULT,
  writeBlockConfig,
  writeCapacity,
} from './block-config.ts';
import { serveRanges } from './block-ranges.ts';
import type { BlockStore, MaybePromise } from './block-store.ts';
import * as blk from './spec.ts';

type Transfer = (offset: number, bytes: Uint8Array) => MaybePromise<void>;
type VectoredTransfer = (offset: number, bytes: readonly Uint8Array[]) => MaybePromise<void>;

export class BlockDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_BLOCK;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly config = new Uint8Array(blk.CONFIG_BYTES);
  onConfigChange: (() => void) | undefined;
  /** Bytes read and written by requests that succeeded. */
  readonly bytes = { read: 0, written: 0 };
  readonly #store: BlockStore;
  readonly #options: BlockDeviceOptions;
  readonly #serial: Uint8Array;
  readonly #read: Transfer;
  readonly #readv: VectoredTransfer | undefined;
  readonly #write: Transfer | undefined;
  readonly #writev: VectoredTransfer | undefined;
  #capacityBytes: number;
  #accepted = 0n;

  constructor(store: BlockStore, options: BlockDeviceOptions = {}) {
    this.#store = store;
    this.#options = options;
    this.#serial = new Uint8Array(blk.ID_BYTES);
    new TextEncoder().encodeInto(options.serial ?? 'belfry', this.#serial);
    this.features = blockFeatures(store);
    this.queueSizes = Array.from({ length: options.queues ?? QUEUES_DEFAULT }, () => QUEUE_SIZE_MAX);
    this.#capacityBytes = store.sizeBytes;
    this.#read = (offset, into) => store.read(offset, into);
    this.#readv = store.readv && ((offset, into) => store.readv?.(offset, into));
    this.#write = store.write && ((offset, from) => store.write?.(offset, from));
    this.#writev = store.writev && ((offset, from) => store.writev?.(offset, from));
    writeBlockConfig(this.config, store, options);
  }

  process(queue: Virtqueue): number {
    return queue.drain(this.#serve);
  }

  readonly #serve = (chain: DescriptorChain, queue: Virtqueue): void => {
    const { readable, writable } = chain;
    if (writable.totalBytes === 0) return queue.markUsed(chain, 0); // nowhere to put a status
    writable.reserveLast();
    if (readable.totalBytes < blk.REQUEST_HEADER_BYTES) return this.#finish(queue, chain, blk.VIRTIO_BLK_S_IOERR, 0);
    const type = readable.uint32(0);
    const sector = readable.uint32(8) + readable.uint32(12) * 2 ** 32;
    readable.dropFront(blk.REQUEST_HEADER_BYTES);
    // What a request writes before its status byte, if it succeeds.
    const written =
      type === blk.VIRTIO_BLK_T_IN
        ? writable.totalBytes
        : type === blk.VIRTIO_BLK_T_GET_ID
          ? Math.min(writable.totalBytes, blk.ID_BYTES)
          : 0;
    let status: MaybePromise<number>;
    try {
      status = this.#execute(type, sector, chain);
    } catch (error) {
      status = this.#failed(type, sector, error);
    }
    if (typeof status === 'number') return this.#finish(queue, chain, status, written);
    status
      .catch((error: unknown) => this.#failed(type, sector, error))
      .then((late) => {
        this.#finish(queue, chain, late, written);
        queue.publish();
      });
  };

  #finish(queue: Virtqueue, chain: DescriptorChain, status: number, written: number): void {
    chain.writable.putLast(status);
    queue.markUsed(chain, status === blk.VIRTIO_BLK_S_OK ? written + 1 : 1);
  }

  #execute(type: number, sector: number, { readable, writable }: DescriptorChain): MaybePromise<number> {
    switch (type) {
      case blk.VIRTIO_BLK_T_IN:
        return this.#transfer(writable, sector, this.#read, this.#readv);
      case blk.VIRTIO_BLK_T_OUT:
        if (this.#write === undefined) return blk.VIRTIO_BLK_S_IOERR;
        return this.#stable(this.#transfer(readable, sector, this.#write, this.#writev));
      case blk.VIRTIO_BLK_T_FLUSH:
        return settle(this.#store.flush?.());
      case blk.VIRTIO_BLK_T_GET_ID:
        writable.copyFrom(this.#serial);
        return blk.VIRTIO_BLK_S_OK;
      case blk.VIRTIO_BLK_T_DISCARD:
      case blk.VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#stable(serveRanges(type, readable, this.#store, this.#capacityBytes));
      default:
        return blk.VIRTIO_BLK_S_UNSUPP;
    }
  }

  /** Moves a request's data, piece by piece; its promises, if any, are all settled before it is. */
  #transfer(
    data: Segments,
    sector: number,
    move: Transfer,
    moveAll: VectoredTransfer | undefined,
  ): MaybePromise<number> {
    const { totalBytes, count } = data;
    let offset = sector * blk.SECTOR_BYTES;
    if (totalBytes % blk.SECTOR_BYTES !== 0 || offset + totalBytes > this.#capacityBytes) return blk.VIRTIO_BLK_S_IOERR;
    if (move === this.#read) this.bytes.read += totalBytes;
    else this.bytes.written += totalBytes;
    if (count > 1 && moveAll !== undefined)
      return settle(
        moveAll(
          offset,
          Array.from({ length: count }, (_, i) => data.view(i)),
        ),
      );
    let pending: Promise<void>[] | undefined;
    for (let i = 0; i < count; i++) {
      const bytes = data.view(i);
      const done = move(offset, bytes);
      offset += bytes.length;
      if (done !== undefined) pending = [...(pending ?? []), done];
    }
    return pending === undefined ? blk.VIRTIO_BLK_S_OK : settleAll(pending);
  }

  /** In writethrough mode a write is stable when it completes, §5.2.6.2. */
  #stable(status: MaybePromise<number>): MaybePromise<number> {
    if (this.config[blk.CONFIG.writeback] === 1 || this.#store.flush === undefined) return status;
    if (typeof status === 'number') return status === blk.VIRTIO_BLK_S_OK ? settle(this.#store.flush()) : status;
    return status.then((late) => this.#stable(late));
  }

  #failed(type: number, sector: number, error: unknown): number {
    const cause = error instanceof Error ? error.message : String(error);
    this.#options.onError?.(
      `store ${this.#store.name ?? 'of this disk'}: request type ${type} at offset ${sector * blk.SECTOR_BYTES} failed: ${cause}`,
    );
    return blk.VIRTIO_BLK_S_IOERR;
  }

  activate(features: bigint): void {
    this.#accepted = features;
    // Without FLUSH the driver has no way to make a write stable, so completion must.
    this.config[blk.CONFIG.writeback] =
      (features & blk.VIRTIO_BLK_F_FLUSH) !== 0n && this.#store.flush !== undefined ? 1 : 0;
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    if ((this.#accepted & blk.VIRTIO_BLK_F_CONFIG_WCE) === 0n || offset !== blk.CONFIG.writeback || bytes.length !== 1)
      return false;
    this.config[blk.CONFIG.writeback] = bytes[0] === 0 ? 0 : 1;
    return true;
  }

  reset(): void {
    this.#accepted = 0n;
    this.config[blk.CONFIG.writeback] = this.#store.flush === undefined ? 0 : 1;
  }

  /** Takes over a new size of the store; the driver is told. */
  resize(sizeBytes: number): void {
    if (sizeBytes === this.#capacityBytes) return;
    this.#capacityBytes = sizeBytes;
    writeCapacity(this.config, sizeBytes);
    this.onConfigChange?.();
  }
}

function settle(done: MaybePromise<void>): MaybePromise<number> {
  return done === undefined ? blk.VIRTIO_BLK_S_OK : done.then(() => blk.VIRTIO_BLK_S_OK);
}

/** Waits for all, so that nothing touches guest memory any more, then fails if one did. */
async function settleAll(pending: readonly Promise<void>[]): Promise<number> {
  const failure = (await Promise.allSettled(pending)).find((result) => result.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return blk.VIRTIO_BLK_S_OK;
}
