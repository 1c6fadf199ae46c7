// virtio-net: struct virtio_net_hdr, §5.1.6: what a driver may ask for, and what it may be given.
import * as spec from './spec.ts';

const { HEADER } = spec;

/** The bits of one direction; `gso` by gso_type. */
interface Direction {
  readonly csum: bigint;
  readonly ecn: bigint;
  readonly gso: Readonly<Record<number, bigint>>;
}

const FROM_DRIVER: Direction = {
  csum: spec.VIRTIO_NET_F_CSUM,
  ecn: spec.VIRTIO_NET_F_HOST_ECN,
  gso: {
    [spec.VIRTIO_NET_HDR_GSO_TCPV4]: spec.VIRTIO_NET_F_HOST_TSO4,
    [spec.VIRTIO_NET_HDR_GSO_TCPV6]: spec.VIRTIO_NET_F_HOST_TSO6,
    [spec.VIRTIO_NET_HDR_GSO_UDP]: spec.VIRTIO_NET_F_HOST_UFO,
    [spec.VIRTIO_NET_HDR_GSO_UDP_L4]: spec.VIRTIO_NET_F_HOST_USO,
  },
};
const TO_DRIVER: Direction = {
  csum: spec.VIRTIO_NET_F_GUEST_CSUM,
  ecn: spec.VIRTIO_NET_F_GUEST_ECN,
  gso: {
    [spec.VIRTIO_NET_HDR_GSO_TCPV4]: spec.VIRTIO_NET_F_GUEST_TSO4,
    [spec.VIRTIO_NET_HDR_GSO_TCPV6]: spec.VIRTIO_NET_F_GUEST_TSO6,
    [spec.VIRTIO_NET_HDR_GSO_UDP]: spec.VIRTIO_NET_F_GUEST_UFO,
    [spec.VIRTIO_NET_HDR_GSO_UDP_L4]: spec.VIRTIO_NET_F_GUEST_USO4 | spec.VIRTIO_NET_F_GUEST_USO6,
  },
};
/** Values of gso_type without ECN. */
const GSO_TYPES = 6;

/**
 * What one direction of a started device allows in a header. Made once a start, so that no frame costs a bigint.
 */
export class HeaderRules {
  readonly #csum: boolean;
  readonly #ecn: boolean;
  /** By gso_type. */
  readonly #gso: readonly boolean[];

  private constructor({ csum, ecn, gso }: Direction, features: bigint) {
    const has = (bits = 0n): boolean => (features & bits) !== 0n;
    this.#csum = has(csum);
    this.#ecn = has(ecn);
    this.#gso = Array.from({ length: GSO_TYPES }, (_, type) => has(gso[type]));
  }

  /** Frames of the driver. */
  static fromDriver(features: bigint): HeaderRules {
    return new HeaderRules(FROM_DRIVER, features);
  }

  /** Frames for the driver. */
  static toDriver(features: bigint): HeaderRules {
    return new HeaderRules(TO_DRIVER, features);
  }

  /** Whether a checksum may be partial. */
  get hasChecksum(): boolean {
    return this.#csum;
  }

  /**
   * Checks the header of a frame of `frameBytes`, and leaves in it only what is checked. Returns false where it asks
   * for something that was not negotiated, or that does not fit the frame. `header` must not be shared with the guest.
   */
  clean(header: Uint8Array, frameBytes: number): boolean {
    const needsChecksum = ((header[HEADER.flags] as number) & spec.VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
    // DATA_VALID is for the driver only; "the device MUST ignore flag bits that it does not recognize".
    const isValid = this.#csum && ((header[HEADER.flags] as number) & spec.VIRTIO_NET_HDR_F_DATA_VALID) !== 0;
    header[HEADER.flags] = needsChecksum
      ? spec.VIRTIO_NET_HDR_F_NEEDS_CSUM
      : isValid
        ? spec.VIRTIO_NET_HDR_F_DATA_VALID
        : 0;
    setLe16(header, HEADER.num_buffers, 0);
    if (needsChecksum) {
      const end = le16(header, HEADER.csum_start) + le16(header, HEADER.csum_offset) + 2;
      if (!this.#csum || end > frameBytes) return false;
    } else {
      setLe16(header, HEADER.csum_start, 0);
      setLe16(header, HEADER.csum_offset, 0);
    }
    const gsoType = header[HEADER.gso_type] as number;
    if (gsoType !== spec.VIRTIO_NET_HDR_GSO_NONE) return needsChecksum && this.#isGso(header, gsoType, frameBytes);
    setLe16(header, HEADER.gso_size, 0);
    setLe16(header, HEADER.hdr_len, 0);
    return true;
  }

  #isGso(header: Uint8Array, gsoType: number, frameBytes: number): boolean {
    const type = gsoType & ~spec.VIRTIO_NET_HDR_GSO_ECN;
    if (this.#gso[type] !== true || le16(header, HEADER.gso_size) === 0) return false;
    const isTcp = type === spec.VIRTIO_NET_HDR_GSO_TCPV4 || type === spec.VIRTIO_NET_HDR_GSO_TCPV6;
    if ((gsoType & spec.VIRTIO_NET_HDR_GSO_ECN) !== 0 && !(isTcp && this.#ecn)) return false;
    // "The device MUST NOT rely on hdr_len to be correct": a hint that is longer than the frame is cut.
    if (le16(header, HEADER.hdr_len) > frameBytes) setLe16(header, HEADER.hdr_len, frameBytes);
    return true;
  }
}

/** Whether a frame is to be segmented: it may be longer than the MTU. */
export function isSegmented(header: Uint8Array): boolean {
  return header[HEADER.gso_type] !== spec.VIRTIO_NET_HDR_GSO_NONE;
}

/** Whether the checksum of a frame is partial. */
export function needsChecksum(header: Uint8Array): boolean {
  return ((header[HEADER.flags] as number) & spec.VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
}

/** Completes the partial checksum of a frame in place, and clears the header. The header has been checked. */
export function completeChecksum(frame: Uint8Array, header: Uint8Array): void {
  const start = le16(header, HEADER.csum_start);
  const at = start + le16(header, HEADER.csum_offset);
  const sum = onesComplementSum(frame, start);
  // A checksum of UDP that is 0 means that there is none (RFC 768); for TCP both forms of 0 are the same.
  const checksum = sum === 0xffff ? 0xffff : ~sum & 0xffff;
  frame[at] = checksum >> 8;
  frame[at + 1] = checksum & 0xff;
  header.fill(0);
}

/** The ones' complement sum of the big-endian 16-bit words from `start` on, of RFC 1071. */
function onesComplementSum(frame: Uint8Array, start: number): number {
  let sum = 0;
  let at = start;
  for (; at + 1 < frame.length; at += 2) sum += ((frame[at] as number) << 8) | (frame[at + 1] as number);
  if (at < frame.length) sum += (frame[at] as number) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return sum;
}

function le16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

/** Writes a le16. */
export function setLe16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 0xff;
  bytes[at + 1] = value >> 8;
}
