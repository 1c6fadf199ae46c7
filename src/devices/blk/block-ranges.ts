// First floor: DISCARD and WRITE_ZEROES, the two requests whose data are ranges (§5.2.6).
import type { Segments } from '../../virtio/segments.ts';
import { RANGE_SECTORS_MAX, RANGES_MAX } from './block-config.ts';
import type { BlockStore, MaybePromise } from './block-store.ts';
import * as blk from './spec.ts';
import { inTurn, settle } from './store-answer.ts';

interface Range {
  readonly offset: number;
  readonly length: number;
  readonly unmap: boolean;
}

/** Runs a DISCARD or WRITE_ZEROES request: every range is checked before the first one is touched. */
export function serveRanges(
  type: number,
  data: Segments,
  store: BlockStore,
  capacityBytes: number,
): MaybePromise<number> {
  if (store.write === undefined) return blk.VIRTIO_BLK_S_IOERR;
  const discard = type === blk.VIRTIO_BLK_T_DISCARD;
  if (discard ? store.discard === undefined : store.writeZeroes === undefined) return blk.VIRTIO_BLK_S_UNSUPP;
  const ranges = readRanges(data, discard, capacityBytes);
  if (typeof ranges === 'number') return ranges;
  return settle(
    inTurn(ranges, ({ offset, length, unmap }) =>
      discard ? store.discard?.(offset, length) : store.writeZeroes?.(offset, length, unmap),
    ),
  );
}

/** The ranges of a request, or the status that refuses it. */
function readRanges(data: Segments, discard: boolean, capacityBytes: number): Range[] | number {
  const { totalBytes } = data;
  const count = totalBytes / blk.RANGE_BYTES;
  if (count < 1 || count > RANGES_MAX || !Number.isInteger(count)) return blk.VIRTIO_BLK_S_IOERR;
  const ranges: Range[] = [];
  let isOutside = false;
  for (let at = 0; at < totalBytes; at += blk.RANGE_BYTES) {
    const sector = data.uint64(at);
    const sectors = data.uint32(at + 8);
    const flags = data.uint32(at + 12);
    const unmap = (flags & blk.RANGE_FLAG_UNMAP) !== 0;
    // "MUST set the status byte to VIRTIO_BLK_S_UNSUPP … if any unknown flag is set": in any range.
    if ((flags & ~blk.RANGE_FLAG_UNMAP) !== 0 || (discard && unmap)) return blk.VIRTIO_BLK_S_UNSUPP;
    isOutside ||= sectors > RANGE_SECTORS_MAX || (sector + sectors) * blk.SECTOR_BYTES > capacityBytes;
    if (sectors > 0) ranges.push({ offset: sector * blk.SECTOR_BYTES, length: sectors * blk.SECTOR_BYTES, unmap });
  }
  return isOutside ? blk.VIRTIO_BLK_S_IOERR : ranges;
}
