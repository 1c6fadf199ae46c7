// virtio-blk: DISCARD and WRITE_ZEROES, the two requests whose data are ranges (§5.2.6).
import { type MaybePromise, whenDone } from '../../virtio/maybe-promise.ts';
import type { Segments } from '../../virtio/segments.ts';
import { RANGE_SECTORS_MAX, RANGES_MAX } from './block-config.ts';
import type { BlockStore } from './block-store.ts';
import * as blk from './spec.ts';

interface Range {
  readonly offset: number;
  readonly length: number;
  readonly unmap: boolean;
}

/** A request with ranges, and the disk it is for. */
export interface RangesRequest {
  readonly type: number;
  /** The request's header, and behind it the ranges. */
  readonly readable: Segments;
  readonly store: BlockStore;
  readonly capacityBytes: number;
  readonly signal: AbortSignal;
}

/** Serves a DISCARD or WRITE_ZEROES request. Returns its status. */
export function serveRanges({ type, readable, store, capacityBytes, signal }: RangesRequest): MaybePromise<number> {
  if (store.write === undefined) return blk.VIRTIO_BLK_S_IOERR;
  const isDiscard = type === blk.VIRTIO_BLK_T_DISCARD;
  if (isDiscard ? store.discard === undefined : store.writeZeroes === undefined) return blk.VIRTIO_BLK_S_UNSUPP;
  const range = readRange(readable, isDiscard, capacityBytes);
  if (typeof range === 'number') return range;
  const { offset, length, unmap } = range;
  if (length === 0) return blk.VIRTIO_BLK_S_OK;
  const answer = isDiscard
    ? store.discard?.(offset, length, signal)
    : store.writeZeroes?.(offset, length, unmap, signal);
  return whenDone(answer, blk.VIRTIO_BLK_S_OK);
}

/** Returns the range of a request, or the status with which it fails. */
function readRange(readable: Segments, isDiscard: boolean, capacityBytes: number): Range | number {
  const at = blk.REQUEST_HEADER_BYTES;
  const count = (readable.totalBytes - at) / blk.RANGE_BYTES;
  if (count < 1 || !Number.isInteger(count)) return blk.VIRTIO_BLK_S_IOERR;
  // Drivers and test suites written for QEMU expect this status for more ranges than were offered.
  if (count > RANGES_MAX) return blk.VIRTIO_BLK_S_UNSUPP;
  const sector = readable.uint64(at);
  const sectors = readable.uint32(at + 8);
  const flags = readable.uint32(at + 12);
  const unmap = (flags & blk.RANGE_FLAG_UNMAP) !== 0;
  // "MUST set the status byte to VIRTIO_BLK_S_UNSUPP … if any unknown flag is set."
  if ((flags & ~blk.RANGE_FLAG_UNMAP) !== 0 || (isDiscard && unmap)) return blk.VIRTIO_BLK_S_UNSUPP;
  if (sectors > RANGE_SECTORS_MAX || (sector + sectors) * blk.SECTOR_BYTES > capacityBytes)
    return blk.VIRTIO_BLK_S_IOERR;
  return { offset: sector * blk.SECTOR_BYTES, length: sectors * blk.SECTOR_BYTES, unmap };
}
