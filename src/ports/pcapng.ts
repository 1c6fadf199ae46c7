// ports: the blocks of a pcapng file (draft-ietf-opsawg-pcapng) with one Ethernet interface and times in nanoseconds.

/** What a block of a frame takes besides the frame and its padding. */
export const FRAME_BLOCK_BYTES = 44;
/** The block of the counts at the end of a file. */
export const STATISTICS_BYTES = 52;

const SECTION_HEADER = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION = 1;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET = 1;
const OPTION = { if_name: 2, epb_flags: 2, shb_userappl: 4, isb_ifrecv: 4, isb_ifdrop: 5, if_tsresol: 9 } as const;
/** if_tsresol: 10 to the power of -9 seconds. */
const NANOSECONDS = 9;

/** epb_flags, bits 0 and 1: as the guest sees it. */
export const DIRECTION = { inbound: 1, outbound: 2 } as const;

const padded = (length: number): number => (length + 3) & ~3;

/** How many bytes a frame of this length takes in the file. */
export function frameBlockBytes(length: number): number {
  return FRAME_BLOCK_BYTES + padded(length);
}

/** The start of a file: the section, and its only interface. */
export function pcapngHeader(interfaceName: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder();
  const section = block(SECTION_HEADER, [
    ...[...le32(BYTE_ORDER), ...le16(1), ...le16(0), ...le64(-1n)],
    ...option(OPTION.shb_userappl, text.encode('belfry')),
    ...END_OF_OPTIONS,
  ]);
  const description = block(INTERFACE_DESCRIPTION, [
    // No limit of the bytes that are kept of a frame.
    ...[...le16(LINKTYPE_ETHERNET), ...le16(0), ...le32(0)],
    ...option(OPTION.if_name, text.encode(interfaceName)),
    ...option(OPTION.if_tsresol, [NANOSECONDS]),
    ...END_OF_OPTIONS,
  ]);
  return Uint8Array.of(...section, ...description);
}

/** Writes the block of a frame at `at`. Returns where it ends. `into` is zeroed from there on as far as the padding. */
export function writeFrameBlock(into: DataView, at: number, frame: Uint8Array, direction: number, ns: bigint): number {
  const total = frameBlockBytes(frame.length);
  const words = [ENHANCED_PACKET, total, 0, Number(ns >> 32n), Number(ns & 0xffff_ffffn), frame.length, frame.length];
  words.forEach((word, i) => {
    into.setUint32(at + 4 * i, word, true);
  });
  const start = at + 4 * words.length;
  new Uint8Array(into.buffer, into.byteOffset).set(frame, start);
  const end = start + padded(frame.length);
  for (let i = start + frame.length; i < end; i++) into.setUint8(i, 0);
  into.setUint32(end, OPTION.epb_flags | (4 << 16), true);
  into.setUint32(end + 4, direction, true);
  into.setUint32(end + 8, 0, true);
  into.setUint32(end + 12, total, true);
  return end + 16;
}

/** The end of a file: frames that there were, and those of them that are not in the file. */
export function statisticsBlock(ns: bigint, frames: number, lost: number): Uint8Array<ArrayBuffer> {
  return block(INTERFACE_STATISTICS, [
    ...[...le32(0), ...le32(Number(ns >> 32n)), ...le32(Number(ns & 0xffff_ffffn))],
    ...option(OPTION.isb_ifrecv, le64(BigInt(frames))),
    ...option(OPTION.isb_ifdrop, le64(BigInt(lost))),
    ...END_OF_OPTIONS,
  ]);
}

const END_OF_OPTIONS = [0, 0, 0, 0] as const;

function block(type: number, body: readonly number[]): Uint8Array<ArrayBuffer> {
  const total = le32(12 + body.length);
  return Uint8Array.of(...le32(type), ...total, ...body, ...total);
}

function option(code: number, value: ArrayLike<number>): number[] {
  const bytes = new Uint8Array(padded(value.length));
  bytes.set(value);
  return [...le16(code), ...le16(value.length), ...bytes];
}

function le16(value: number): number[] {
  return [value & 0xff, value >> 8];
}

function le32(value: number): number[] {
  return [...le16(value & 0xffff), ...le16(value >>> 16)];
}

function le64(value: bigint): number[] {
  return [...le32(Number(BigInt.asUintN(32, value))), ...le32(Number(BigInt.asUintN(64, value) >> 32n))];
}
