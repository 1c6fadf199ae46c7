// A second opinion on virtio-blk, written from §5.2.6 alone: what a request must give, on a disk that is an array.

export interface ModelDisk {
  readonly bytes: Uint8Array;
  readonly readOnly: boolean;
  readonly serial: string;
}

export interface Expected {
  readonly usedLength: number;
  /** The first device-writable bytes afterwards. */
  readonly data: Uint8Array;
  /** Their last byte; undefined when there is none. */
  readonly status: number | undefined;
}

const OK = 0;
const IOERR = 1;
const UNSUPP = 2;
const NOTHING = new Uint8Array(0);

/** What a request does: the device may read `readable` and write `writableBytes` bytes. Changes the disk. */
export function expectRequest(disk: ModelDisk, readable: Uint8Array, writableBytes: number): Expected {
  if (writableBytes === 0) return { usedLength: 0, data: NOTHING, status: undefined };
  const answer = readable.length < 16 ? IOERR : answerTo(disk, readable, writableBytes - 1);
  if (typeof answer === 'number') return { usedLength: 1, data: NOTHING, status: answer };
  return { usedLength: answer.length + 1, data: answer, status: OK };
}

/** The bytes a request gives, or the status that refuses it. */
function answerTo(disk: ModelDisk, readable: Uint8Array, inBytes: number): Uint8Array | number {
  const header = new DataView(readable.buffer, readable.byteOffset, readable.length);
  const type = header.getUint32(0, true);
  const at = Number(header.getBigUint64(8, true)) * 512;
  const out = readable.subarray(16);
  const fits = (bytes: number): boolean => bytes % 512 === 0 && at + bytes <= disk.bytes.length;
  switch (type) {
    case 0:
      return fits(inBytes) ? disk.bytes.slice(at, at + inBytes) : IOERR;
    case 1:
      if (disk.readOnly || !fits(out.length)) return IOERR;
      disk.bytes.set(out, at);
      return NOTHING;
    case 4:
      return NOTHING;
    case 8:
      return new TextEncoder().encode(disk.serial.padEnd(20, '\0')).slice(0, Math.min(inBytes, 20));
    case 11:
    case 13:
      return zero(disk, out, type === 11);
    default:
      return UNSUPP;
  }
}

/** DISCARD (this disk makes zeroes of what is discarded) and WRITE_ZEROES. */
function zero(disk: ModelDisk, out: Uint8Array, discard: boolean): Uint8Array | number {
  if (disk.readOnly || out.length === 0 || out.length % 16 !== 0) return IOERR;
  if (out.length > 16) return UNSUPP;
  const view = new DataView(out.buffer, out.byteOffset, out.length);
  const ranges = Array.from({ length: out.length / 16 }, (_, i) => ({
    at: Number(view.getBigUint64(16 * i, true)) * 512,
    bytes: view.getUint32(16 * i + 8, true) * 512,
    flags: view.getUint32(16 * i + 12, true),
  }));
  if (ranges.some(({ flags }) => flags > (discard ? 0 : 1))) return UNSUPP;
  if (ranges.some(({ at, bytes }) => at + bytes > disk.bytes.length)) return IOERR;
  for (const { at, bytes } of ranges) disk.bytes.fill(0, at, at + bytes);
  return NOTHING;
}
