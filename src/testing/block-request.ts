// testing: requests to a block device as a driver makes them, §5.2.6, before they are cut into descriptors.
import * as blk from '../devices/blk/spec.ts';

/** A request to a block device, §5.2.6: `blockRequest` makes them. */
export interface BlockRequest {
  /** VIRTIO_BLK_T_…: 0 reads, 1 writes, 4 flushes, 8 asks for the serial number, 11 discards, 13 writes zeroes. */
  readonly type: number;
  /** In units of 512 bytes. */
  readonly sector: number;
  /** Device-readable bytes after the header. */
  readonly out: Uint8Array;
  /** Device-writable bytes before the status byte. */
  readonly inBytes: number;
}

/** struct virtio_blk_discard_write_zeroes. */
export interface SectorRange {
  /** The first sector, in units of 512 bytes. */
  readonly sector: number;
  /** How many sectors. */
  readonly sectors: number;
  /** Bit 0, for WRITE_ZEROES: may be unmapped. Default: 0. */
  readonly flags?: number;
}

const NOTHING = new Uint8Array(0);

/**
 * A function for each type of request; change the results with a spread.
 *
 * @example
 * blockRequest.write(8, new Uint8Array(4096));
 * blockRequest.discard({ sector: 0, sectors: 64 });
 * ({ ...blockRequest.flush(), type: 99 });
 */
export const blockRequest = {
  read: (sector: number, bytes: number): BlockRequest => ({
    type: blk.VIRTIO_BLK_T_IN,
    sector,
    out: NOTHING,
    inBytes: bytes,
  }),
  write: (sector: number, out: Uint8Array): BlockRequest => ({ type: blk.VIRTIO_BLK_T_OUT, sector, out, inBytes: 0 }),
  flush: (): BlockRequest => ({ type: blk.VIRTIO_BLK_T_FLUSH, sector: 0, out: NOTHING, inBytes: 0 }),
  getId: (): BlockRequest => ({ type: blk.VIRTIO_BLK_T_GET_ID, sector: 0, out: NOTHING, inBytes: blk.ID_BYTES }),
  discard: (...ranges: readonly SectorRange[]): BlockRequest => ({
    type: blk.VIRTIO_BLK_T_DISCARD,
    sector: 0,
    out: encodeRanges(ranges),
    inBytes: 0,
  }),
  writeZeroes: (...ranges: readonly SectorRange[]): BlockRequest => ({
    type: blk.VIRTIO_BLK_T_WRITE_ZEROES,
    sector: 0,
    out: encodeRanges(ranges),
    inBytes: 0,
  }),
};

/** The device-readable part of a request: header, then data. */
export function encodeReadable({ type, sector, out }: BlockRequest): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(blk.REQUEST_HEADER_BYTES + out.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  putUint64(view, 8, sector);
  bytes.set(out, blk.REQUEST_HEADER_BYTES);
  return bytes;
}

function encodeRanges(ranges: readonly SectorRange[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(blk.RANGE_BYTES * ranges.length);
  const view = new DataView(bytes.buffer);
  ranges.forEach(({ sector, sectors, flags = 0 }, i) => {
    const at = blk.RANGE_BYTES * i;
    putUint64(view, at, sector);
    view.setUint32(at + 8, sectors, true);
    view.setUint32(at + 12, flags, true);
  });
  return bytes;
}

function putUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
