// First floor: features and configuration space of the block device (§5.2.3, §5.2.4), derived from what the store can do.
import type { BlockStore } from './block-store.ts';
import * as blk from './spec.ts';

export interface BlockDeviceOptions {
  /** Queues offered. QEMU starts one for each vCPU and refuses a back end with fewer. 64 unless said. */
  readonly queues?: number;
  /** What the guest reads as the disk's serial number, up to 20 bytes. */
  readonly serial?: string;
  /** Logical block size in bytes: a power of two from 512 to 65536. 512 unless said. */
  readonly blockSize?: number;
  /**
   * How much one DISCARD or WRITE_ZEROES request may name. `portable`: one range of 16 MiB, which every other implementation takes too, so
   * that the disk can be handed to one. `wide` unless said.
   */
  readonly ranges?: 'wide' | 'portable';
  /** One line for each request that a store failed. */
  readonly onError?: (line: string) => void;
}

export const QUEUES_DEFAULT = 64;
/** The vring index of vhost-user's kick and call messages has 8 bits. */
export const QUEUES_MAX = 256;
/** A ring of 128 must hold header, data and status of a request without an indirect table. */
export const SEG_MAX = 126;
const SIZE_MAX = 1 << 20;
/** One request may name so many ranges of so many sectors: enough for a guest, bounded for us. */
export const RANGES_MAX = 32;
export const RANGE_SECTORS_MAX = 1 << 22;
const PORTABLE_RANGE_SECTORS = 1 << 15;

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
    (writable && store.flush !== undefined ? blk.VIRTIO_BLK_F_CONFIG_WCE : 0n) |
    (writable && store.discard !== undefined ? blk.VIRTIO_BLK_F_DISCARD : 0n) |
    (writable && store.writeZeroes !== undefined ? blk.VIRTIO_BLK_F_WRITE_ZEROES : 0n)
  );
}

/** Fills a configuration space of CONFIG_BYTES. */
export function writeBlockConfig(config: Uint8Array, store: BlockStore, options: BlockDeviceOptions): void {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const blockSize = options.blockSize ?? blk.SECTOR_BYTES;
  const physical = Math.max(blockSize, store.physicalBlockBytes ?? blockSize);
  const features = blockFeatures(store);
  const isPortable = options.ranges === 'portable';
  const rangesMax = isPortable ? 1 : RANGES_MAX;
  const rangeSectorsMax = isPortable ? PORTABLE_RANGE_SECTORS : RANGE_SECTORS_MAX;
  writeCapacity(config, store.sizeBytes);
  view.setUint32(blk.CONFIG.size_max, SIZE_MAX, true);
  view.setUint32(blk.CONFIG.seg_max, SEG_MAX, true);
  view.setUint32(blk.CONFIG.blk_size, blockSize, true);
  view.setUint8(blk.CONFIG.physical_block_exp, Math.log2(physical / blockSize));
  view.setUint16(blk.CONFIG.min_io_size, physical / blockSize, true);
  view.setUint8(blk.CONFIG.writeback, store.flush === undefined ? 0 : 1);
  view.setUint16(blk.CONFIG.num_queues, options.queues ?? QUEUES_DEFAULT, true);
  if ((features & blk.VIRTIO_BLK_F_DISCARD) !== 0n) {
    view.setUint32(blk.CONFIG.max_discard_sectors, rangeSectorsMax, true);
    view.setUint32(blk.CONFIG.max_discard_seg, rangesMax, true);
    view.setUint32(blk.CONFIG.discard_sector_alignment, physical / blk.SECTOR_BYTES, true);
  }
  if ((features & blk.VIRTIO_BLK_F_WRITE_ZEROES) !== 0n) {
    view.setUint32(blk.CONFIG.max_write_zeroes_sectors, rangeSectorsMax, true);
    view.setUint32(blk.CONFIG.max_write_zeroes_seg, rangesMax, true);
    view.setUint8(blk.CONFIG.write_zeroes_may_unmap, store.discard === undefined ? 0 : 1);
  }
}

/** Sets the capacity alone: what a resize changes. */
export function writeCapacity(config: Uint8Array, sizeBytes: number): void {
  const sectors = BigInt(Math.floor(sizeBytes / blk.SECTOR_BYTES));
  new DataView(config.buffer, config.byteOffset).setBigUint64(blk.CONFIG.capacity, sectors, true);
}
