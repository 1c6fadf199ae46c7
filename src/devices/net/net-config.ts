// virtio-net: the options of a card, the features that follow from them, and its configuration space. §5.1.3, §5.1.4.
import type { FrameRate } from './frame-limit.ts';
import { checkMac, parseMac, randomMac } from './mac-address.ts';
import { setLe16 } from './net-header.ts';
import type { NetPort } from './net-port.ts';
import * as spec from './spec.ts';

/** The options of a network card. */
export interface NetDeviceOptions {
  /** What it is connected to. */
  readonly port: NetPort;
  /** Its address: `52:54:00:12:34:56`, or 6 bytes. Default: a random one that is locally administered. */
  readonly mac?: string | Uint8Array;
  /** The longest packet without its Ethernet header, 68 to 65535 bytes. Absent: the driver decides (1500). */
  readonly mtu?: number;
  /** What the guest may send in a second. Frames beyond it wait in its ring. Absent: no limit. */
  readonly sendLimit?: FrameRate | undefined;
  /** What it receives in a second. Frames beyond it wait as those without a buffer do. Absent: no limit. */
  readonly receiveLimit?: FrameRate | undefined;
}

/** Every offload of §5.1.3 that is passed to a port as it is. */
export const OFFLOADS =
  spec.VIRTIO_NET_F_CSUM |
  spec.VIRTIO_NET_F_HOST_TSO4 |
  spec.VIRTIO_NET_F_HOST_TSO6 |
  spec.VIRTIO_NET_F_HOST_ECN |
  spec.VIRTIO_NET_F_HOST_UFO |
  spec.VIRTIO_NET_F_HOST_USO |
  spec.VIRTIO_NET_F_GUEST_CSUM |
  spec.VIRTIO_NET_F_GUEST_TSO4 |
  spec.VIRTIO_NET_F_GUEST_TSO6 |
  spec.VIRTIO_NET_F_GUEST_ECN |
  spec.VIRTIO_NET_F_GUEST_UFO |
  spec.VIRTIO_NET_F_GUEST_USO4 |
  spec.VIRTIO_NET_F_GUEST_USO6;

/** What every card offers. */
const ALWAYS =
  spec.VIRTIO_NET_F_MAC |
  spec.VIRTIO_NET_F_MRG_RXBUF |
  spec.VIRTIO_NET_F_STATUS |
  spec.VIRTIO_NET_F_CTRL_VQ |
  spec.VIRTIO_NET_F_CTRL_RX |
  spec.VIRTIO_NET_F_CTRL_RX_EXTRA |
  spec.VIRTIO_NET_F_CTRL_VLAN |
  spec.VIRTIO_NET_F_CTRL_MAC_ADDR |
  spec.VIRTIO_NET_F_GUEST_ANNOUNCE;

/** §5.1.3.1: a feature, and those of which it requires one. */
const REQUIREMENTS: readonly (readonly [feature: bigint, oneOf: bigint])[] = [
  ...[
    spec.VIRTIO_NET_F_GUEST_TSO4,
    spec.VIRTIO_NET_F_GUEST_TSO6,
    spec.VIRTIO_NET_F_GUEST_UFO,
    spec.VIRTIO_NET_F_GUEST_USO4,
    spec.VIRTIO_NET_F_GUEST_USO6,
  ].map((feature) => [feature, spec.VIRTIO_NET_F_GUEST_CSUM] as const),
  ...[
    spec.VIRTIO_NET_F_HOST_TSO4,
    spec.VIRTIO_NET_F_HOST_TSO6,
    spec.VIRTIO_NET_F_HOST_UFO,
    spec.VIRTIO_NET_F_HOST_USO,
  ].map((feature) => [feature, spec.VIRTIO_NET_F_CSUM] as const),
  [spec.VIRTIO_NET_F_GUEST_ECN, spec.VIRTIO_NET_F_GUEST_TSO4 | spec.VIRTIO_NET_F_GUEST_TSO6],
  [spec.VIRTIO_NET_F_HOST_ECN, spec.VIRTIO_NET_F_HOST_TSO4 | spec.VIRTIO_NET_F_HOST_TSO6],
];

/** The features of a card. Throws TypeError for a port that is none, or for offloads that it cannot have. */
export function featuresOf({ port, mtu }: NetDeviceOptions): bigint {
  if (typeof port?.send !== 'function')
    throw new TypeError('a network card needs a port: { port: { send(frame) { … } } }');
  const { offloads = 0n } = port;
  if (typeof offloads !== 'bigint' || (offloads & ~OFFLOADS) !== 0n)
    throw new TypeError(`the port's offloads are ${offloads}; bits of CSUM, GUEST_… and HOST_… are wanted`);
  for (const [feature, oneOf] of REQUIREMENTS)
    if ((offloads & feature) !== 0n && (offloads & oneOf) === 0n)
      throw new TypeError(`the port's offloads have bit ${bitOf(feature)} without bit ${bitOf(oneOf)} (§5.1.3.1)`);
  return ALWAYS | offloads | (mtu === undefined ? 0n : spec.VIRTIO_NET_F_MTU);
}

function bitOf(feature: bigint): number {
  return feature.toString(2).length - 1;
}

/** The address of a card. Throws RangeError. */
export function macOf({ mac }: NetDeviceOptions): Uint8Array<ArrayBuffer> {
  if (mac === undefined) return randomMac();
  if (typeof mac === 'string') return parseMac(mac);
  checkMac(mac);
  return Uint8Array.from(mac);
}

/** The configuration space of a card whose link is up. Throws RangeError for an MTU out of range. */
export function configOf(mac: Uint8Array, mtu: number | undefined): Uint8Array<ArrayBuffer> {
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= spec.MTU_MIN && mtu <= spec.MTU_MAX))
    throw new RangeError(`an MTU of ${mtu}: a whole number from ${spec.MTU_MIN} to ${spec.MTU_MAX} is wanted`);
  const bytes = new Uint8Array(spec.CONFIG_BYTES);
  bytes.set(mac, spec.CONFIG.mac);
  setLe16(bytes, spec.CONFIG.status, spec.VIRTIO_NET_S_LINK_UP);
  // "Only exists if VIRTIO_NET_F_MQ": one pair, as a driver without it assumes.
  setLe16(bytes, spec.CONFIG.max_virtqueue_pairs, 1);
  setLe16(bytes, spec.CONFIG.mtu, mtu ?? 0);
  return bytes;
}
