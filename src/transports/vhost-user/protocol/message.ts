// vhost-user/protocol: encodes and decodes vhost-user messages. Syntax only; the handlers know what a message means.
import { ProtocolError } from './protocol-error.ts';
import { CONFIG_BYTES_MAX, HEADER_BYTES, PAYLOAD_BYTES_MAX, requestName, VERSION, VERSION_MASK } from './spec.ts';

/** A whole message. */
export interface Message {
  readonly request: number;
  readonly flags: number;
  readonly payload: DataView<ArrayBuffer>;
  /** Descriptors that came with it. The handler owns them. */
  readonly fds: number[];
}

/** A memory region description. */
export interface MemoryRegionMessage {
  readonly guestAddress: number;
  readonly sizeBytes: number;
  /** Where the region is in the front end's address space, in which ring addresses are given. */
  readonly userAddress: number;
  /** Where the region begins in the file. */
  readonly mmapOffset: number;
}

export const REGION_BYTES = 32;

/** Decodes a header. Throws ProtocolError for a wrong version or a payload longer than any message's. */
export function decodeHeader(view: DataView): { request: number; flags: number; size: number } {
  const request = view.getUint32(0, true);
  const flags = view.getUint32(4, true);
  const size = view.getUint32(8, true);
  if ((flags & VERSION_MASK) !== VERSION)
    throw new ProtocolError(requestName(request), `flags 0x${flags.toString(16)} are not version 1 of the protocol`);
  if (size > PAYLOAD_BYTES_MAX)
    throw new ProtocolError(requestName(request), `${size} bytes of payload, the most is ${PAYLOAD_BYTES_MAX}`);
  return { request, flags, size };
}

/** Encodes a whole message. `flags` are added to the version. */
export function encodeMessage(request: number, flags: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, request, true);
  view.setUint32(4, VERSION | flags, true);
  view.setUint32(8, payload.length, true);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

export function encodeU64(value: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

/** struct vhost_vring_state. */
export function encodeVringState(index: number, num: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, index, true);
  view.setUint32(4, num, true);
  return bytes;
}

/** Throws ProtocolError unless the payload has exactly this many bytes. */
export function expectPayload(message: Message, bytes: number): void {
  if (message.payload.byteLength === bytes) return;
  throw new ProtocolError(
    requestName(message.request),
    `${message.payload.byteLength} bytes of payload, ${bytes} belong to it`,
  );
}

/**
 * Decodes { guest address, size, user address, mmap offset }, all u64. Throws ProtocolError for a number beyond 2^53.
 */
export function decodeRegion(message: Message, at: number): MemoryRegionMessage {
  const field = (i: number): number => {
    const value = message.payload.getBigUint64(at + 8 * i, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new ProtocolError(requestName(message.request), `0x${value.toString(16)} is no address`);
    return Number(value);
  };
  return { guestAddress: field(0), sizeBytes: field(1), userAddress: field(2), mmapOffset: field(3) };
}

export function encodeRegion(region: MemoryRegionMessage): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(REGION_BYTES);
  const view = new DataView(bytes.buffer);
  [region.guestAddress, region.sizeBytes, region.userAddress, region.mmapOffset].forEach((value, i) => {
    view.setBigUint64(8 * i, BigInt(value), true);
  });
  return bytes;
}

/** Decodes { log size, offset in its file }, both u64. Throws ProtocolError for a number beyond 2^53. */
export function decodeLog(message: Message): { readonly sizeBytes: number; readonly fileOffset: number } {
  expectPayload(message, 16);
  const [sizeBytes = 0, fileOffset = 0] = [0, 8].map((at) => Number(message.payload.getBigUint64(at, true)));
  if (Number.isSafeInteger(sizeBytes + fileOffset)) return { sizeBytes, fileOffset };
  throw new ProtocolError(requestName(message.request), 'a log that ends beyond 2^53');
}

/** struct vhost_vring_addr { u32 index, flags; u64 descriptor, used, available, log }. */
export function encodeVringAddress(
  index: number,
  descriptorArea: number,
  deviceArea: number,
  driverArea: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(40);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, index, true);
  [descriptorArea, deviceArea, driverArea].forEach((address, i) => {
    view.setBigUint64(8 + 8 * i, BigInt(address), true);
  });
  return bytes;
}

/**
 * Decodes GET_CONFIG and SET_CONFIG: { u32 offset, size, flags; u8 bytes[size] }. Throws ProtocolError for inconsistent
 * sizes.
 */
export function decodeConfig(message: Message): {
  offset: number;
  size: number;
  flags: number;
  bytes: Uint8Array<ArrayBuffer>;
} {
  const { payload } = message;
  if (payload.byteLength < 12)
    throw new ProtocolError(requestName(message.request), `${payload.byteLength} bytes, at least 12 belong to it`);
  const offset = payload.getUint32(0, true);
  const size = payload.getUint32(4, true);
  if (size > CONFIG_BYTES_MAX || offset > CONFIG_BYTES_MAX || payload.byteLength !== 12 + size) {
    throw new ProtocolError(
      requestName(message.request),
      `${size} bytes at ${offset} of the configuration space, in a payload of ${payload.byteLength}`,
    );
  }
  return {
    offset,
    size,
    flags: payload.getUint32(8, true),
    bytes: new Uint8Array(payload.buffer, payload.byteOffset + 12, size),
  };
}

export function encodeConfig(offset: number, bytes: Uint8Array, flags = 0): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(12 + bytes.length);
  const view = new DataView(all.buffer);
  view.setUint32(0, offset, true);
  view.setUint32(4, bytes.length, true);
  view.setUint32(8, flags, true);
  all.set(bytes, 12);
  return all;
}

/** Shared memory in which a back end records the requests in flight; a front end passes it on to the next back end. */
export interface InflightMessage {
  readonly mmapSize: number;
  readonly mmapOffset: number;
  readonly queues: number;
  readonly queueSize: number;
}

/** { u64 mmap size, mmap offset; u16 queues, queue size } and the padding that its C struct has. */
const INFLIGHT_BYTES = 24;

export function encodeInflight({ mmapSize, mmapOffset, queues, queueSize }: InflightMessage): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(INFLIGHT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(mmapSize), true);
  view.setBigUint64(8, BigInt(mmapOffset), true);
  view.setUint16(16, queues, true);
  view.setUint16(18, queueSize, true);
  return bytes;
}

/** Returns undefined where the payload is too short. */
export function decodeInflight(payload: DataView): InflightMessage | undefined {
  if (payload.byteLength < INFLIGHT_BYTES - 4) return undefined;
  return {
    mmapSize: Number(payload.getBigUint64(0, true)),
    mmapOffset: Number(payload.getBigUint64(8, true)),
    queues: payload.getUint16(16, true),
    queueSize: payload.getUint16(18, true),
  };
}
