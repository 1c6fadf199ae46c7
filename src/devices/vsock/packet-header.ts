// virtio-vsock: struct virtio_vsock_hdr: read from a ring word by word, each once, and written to one. §5.10.6.
import type { Segments } from '../../virtio/segments.ts';
import * as spec from './spec.ts';
import { HEADER, HEADER_BYTES } from './spec.ts';
import type { VsockConnection } from './vsock-port.ts';

/** The fields of a header. CIDs are exact up to 2^53: larger ones belong to nobody. */
export interface PacketHeader {
  srcCid: number;
  dstCid: number;
  srcPort: number;
  dstPort: number;
  len: number;
  type: number;
  op: number;
  flags: number;
  bufAlloc: number;
  fwdCnt: number;
}

/** A header of zeroes, to be filled. */
export function newHeader(): PacketHeader {
  return {
    srcCid: 0,
    dstCid: 0,
    srcPort: 0,
    dstPort: 0,
    len: 0,
    type: 0,
    op: 0,
    flags: 0,
    bufAlloc: 0,
    fwdCnt: 0,
  };
}

/** Reads a header. `from` has at least 44 bytes. */
export function readHeader(from: Segments, into: PacketHeader): void {
  into.srcCid = from.uint64(HEADER.src_cid);
  into.dstCid = from.uint64(HEADER.dst_cid);
  into.srcPort = from.uint32(HEADER.src_port);
  into.dstPort = from.uint32(HEADER.dst_port);
  into.len = from.uint32(HEADER.len);
  const typeAndOp = from.uint32(HEADER.type);
  into.type = typeAndOp & 0xffff;
  into.op = typeAndOp >>> 16;
  into.flags = from.uint32(HEADER.flags);
  into.bufAlloc = from.uint32(HEADER.buf_alloc);
  into.fwdCnt = from.uint32(HEADER.fwd_cnt);
}

const scratch = new DataView(new ArrayBuffer(HEADER_BYTES));
const scratchBytes = new Uint8Array(scratch.buffer);

/** Writes a header at the start of a buffer of at least 44 bytes. */
export function writeHeader(to: Segments, header: PacketHeader): void {
  scratch.setUint32(HEADER.src_cid, header.srcCid, true);
  scratch.setUint32(HEADER.dst_cid, header.dstCid, true);
  scratch.setUint32(HEADER.src_port, header.srcPort, true);
  scratch.setUint32(HEADER.dst_port, header.dstPort, true);
  scratch.setUint32(HEADER.len, header.len, true);
  scratch.setUint16(HEADER.type, header.type, true);
  scratch.setUint16(HEADER.op, header.op, true);
  scratch.setUint32(HEADER.flags, header.flags, true);
  scratch.setUint32(HEADER.buf_alloc, header.bufAlloc, true);
  scratch.setUint32(HEADER.fwd_cnt, header.fwdCnt, true);
  const first = to.piece(0, HEADER_BYTES);
  if (first.length === HEADER_BYTES) first.set(scratchBytes);
  else to.copyFrom(scratchBytes);
}

/** Sets the addresses and the type of a packet from the host's end of a connection to the guest's. */
export function addressTo(header: PacketHeader, to: VsockConnection): void {
  header.srcCid = spec.CID_HOST;
  header.dstCid = to.guestCid;
  header.srcPort = to.hostPort;
  header.dstPort = to.guestPort;
  header.type = to.type === 'stream' ? spec.VIRTIO_VSOCK_TYPE_STREAM : spec.VIRTIO_VSOCK_TYPE_SEQPACKET;
}
