// virtio-blk: features and configuration space of the block device (§5.2.3, §5.2.4), derived from its store.
import type { BlockStore } from './block-store.ts';
import { checkErrorPolicy, type ErrorPolicy } from './error-policy.ts';
import * as blk from './spec.ts';

/** The options of a disk. */
export interface BlockDeviceOptions {
  /** Queues offered, 1 to 256. QEMU starts one for each vCPU and refuses a back end with fewer. Default 64. */
  readonly queues?: number;
  /** The disk's serial number for the guest, up to 20 bytes. Default `belfry`. */
  readonly serial?: string;
  /**
   * Logical block size in bytes: a power of two from 512 to 65536. Default: 512, or the store's alignment if that is
   * larger.
   */
  readonly blockSize?: number;
  /** What becomes of requests that the store failed. Default: `{ read: 'report', write: 'enospc' }`. */
  readonly onError?: ErrorPolicy;
}

export const QUEUES_DEFAULT = 64;
/** The vring index of vhost-user's kick and call messages has 8 bits. */
export const QUEUES_MAX = 256;
/** A ring of 128 must hold header, data and status of a request without an indirect table. */
export const SEG_MAX = 126;
const SIZE_MAX = 1 << 20;
/** The limit of one request. A correct driver stays below: SEG_MAX segments of SIZE_MAX are less. */
export const REQUEST_BYTES_MAX = 128 * 2 ** 20;
/** A DISCARD or WRITE_ZEROES request has one range of at most 16 MiB, since it may cost a memset of that size. */
export const RANGES_MAX = 1;
export const RANGE_SECTORS_MAX = 1 << 15;

/** Throws RangeError for an invalid option. */
export function checkBlockOptions(store: BlockStore, { queues, serial, blockSize, onError }: BlockDeviceOptions): void {
  if (onError !== undefined) checkErrorPolicy(onError);
  if (queues !== undefined && !(Number.isInteger(queues) && queues >= 1 && queues <= QUEUES_MAX))
    throw new RangeError(`queues is ${queues}; a whole number from 1 to ${QUEUES_MAX} is wanted`);
  if (serial !== undefined && typeof serial !== 'string') throw new RangeError(`serial is ${serial}; a text is wanted`);
  if (serial !== undefined && new TextEncoder().encode(serial).length > blk.ID_BYTES)
    throw new RangeError(`serial is "${serial}"; it has at most ${blk.ID_BYTES} bytes`);
  const isPower = (bytes: number): boolean =>
    Number.isInteger(bytes) && bytes >= 512 && bytes <= 65536 && Number.isInteger(Math.log2(bytes));
  if (blockSize !== undefined && !isPower(blockSize))
    throw new RangeError(`blockSize is ${blockSize}; a power of two from 512 to 65536 is wanted`);
  const { alignment = blk.SECTOR_BYTES } = store;
  if (blockSize !== undefined && blockSize < alignment)
    throw new RangeError(`blockSize is ${blockSize}; the disk takes whole blocks of ${alignment}: leave it out`);
  const bytes = logicalBlock(store, { ...(blockSize && { blockSize }) });
  if (store.sizeBytes % bytes !== 0)
    throw new RangeError(`blockSize is ${bytes}; the disk's ${store.sizeBytes} bytes are not a multiple of it`);
}

/** The logical block size for the driver, in bytes. */
export function logicalBlock(store: BlockStore, { blockSize = blk.SECTOR_BYTES }: BlockDeviceOptions): number {
  return Math.max(blockSize, store.alignment ?? blk.SECTOR_BYTES);
}

/** The feature bits of a disk on this store. */
export function blockFeatures(store: BlockStore): bigint {
  const writable = store.write !== undefined;
  return (
    blk.VIRTIO_BLK_F_SIZE_MAX |
    blk.VIRTIO_BLK_F_SEG_MAX |
    blk.VIRTIO_BLK_F_BLK_SIZE |
    blk.VIRTIO_BLK_F_TOPOLOGY |
    blk.VIRTIO_BLK_F_MQ |
    (writable ? 0n : blk.VIRTIO_BLK_F_RO) |
    // "Devices SHOULD always offer VIRTIO_BLK_F_FLUSH": without a volatile cache a flush has nothing to do.
    blk.VIRTIO_BLK_F_FLUSH |
    (hasCache(store) ? blk.VIRTIO_BLK_F_CONFIG_WCE : 0n) |
    (writable && store.discard !== undefined ? blk.VIRTIO_BLK_F_DISCARD : 0n) |
    (writable && store.writeZeroes !== undefined ? blk.VIRTIO_BLK_F_WRITE_ZEROES : 0n)
  );
}

/** Whether completed writes may be lost until a flush, so that the driver can choose a cache mode. */
export function hasCache(store: BlockStore): boolean {
  return store.write !== undefined && store.flush !== undefined;
}

/** Fills a configuration space of CONFIG_BYTES. */
export function writeBlockConfig(config: Uint8Array, store: BlockStore, options: BlockDeviceOptions): void {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const blockSize = logicalBlock(store, options);
  const physical = Math.max(blockSize, store.physicalBlockBytes ?? blockSize);
  const features = blockFeatures(store);
  writeCapacity(config, store.sizeBytes);
  view.setUint32(blk.CONFIG.size_max, SIZE_MAX, true);
  view.setUint32(blk.CONFIG.seg_max, SEG_MAX, true);
  view.setUint32(blk.CONFIG.blk_size, blockSize, true);
  view.setUint8(blk.CONFIG.physical_block_exp, Math.log2(physical / blockSize));
  view.setUint16(blk.CONFIG.min_io_size, physical / blockSize, true);
  view.setUint8(blk.CONFIG.writeback, hasCache(store) ? 1 : 0);
  view.setUint16(blk.CONFIG.num_queues, options.queues ?? QUEUES_DEFAULT, true);
  if ((features & blk.VIRTIO_BLK_F_DISCARD) !== 0n) {
    view.setUint32(blk.CONFIG.max_discard_sectors, RANGE_SECTORS_MAX, true);
    view.setUint32(blk.CONFIG.max_discard_seg, RANGES_MAX, true);
    view.setUint32(blk.CONFIG.discard_sector_alignment, physical / blk.SECTOR_BYTES, true);
  }
  if ((features & blk.VIRTIO_BLK_F_WRITE_ZEROES) !== 0n) {
    view.setUint32(blk.CONFIG.max_write_zeroes_sectors, RANGE_SECTORS_MAX, true);
    view.setUint32(blk.CONFIG.max_write_zeroes_seg, RANGES_MAX, true);
    view.setUint8(blk.CONFIG.write_zeroes_may_unmap, store.discard === undefined ? 0 : 1);
  }
}

/** Writes only the capacity, for a resize. */
export function writeCapacity(config: Uint8Array, sizeBytes: number): void {
  const sectors = BigInt(Math.floor(sizeBytes / blk.SECTOR_BYTES));
  new DataView(config.buffer, config.byteOffset).setBigUint64(blk.CONFIG.capacity, sectors, true);
}
