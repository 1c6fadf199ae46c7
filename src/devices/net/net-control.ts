// virtio-net: the control queue: receive modes, MAC tables and address, VLANs, announcements. §5.1.6.5.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import type { FrameFilter, ReceiveModes } from './frame-filter.ts';
import { checkMac, macNumber } from './mac-address.ts';
import * as spec from './spec.ts';

/** A command is read up to this length; the longest useful one is a table of addresses. A longer one is an error. */
export const COMMAND_BYTES_MAX = 64 * 1024;
const CLASS_AND_COMMAND = 2;

/** What a command changes. */
export interface ControlTarget {
  readonly features: bigint;
  readonly filter: FrameFilter;
  /** Sets the default address, which the configuration space shows. */
  setMac(mac: Uint8Array): void;
  /** The driver has seen VIRTIO_NET_S_ANNOUNCE. */
  announced(): void;
}

/** Executes the data of one command. Returns whether it succeeded. */
type Command = (data: Uint8Array, target: ControlTarget) => boolean;

/** By class and command: the feature that it requires, and what it does. */
const COMMANDS: ReadonlyMap<number, readonly [feature: bigint, Command]> = new Map([
  ...(
    [
      [spec.VIRTIO_NET_CTRL_RX_PROMISC, spec.VIRTIO_NET_F_CTRL_RX, 'promiscuous'],
      [spec.VIRTIO_NET_CTRL_RX_ALLMULTI, spec.VIRTIO_NET_F_CTRL_RX, 'allMulticast'],
      [spec.VIRTIO_NET_CTRL_RX_ALLUNI, spec.VIRTIO_NET_F_CTRL_RX_EXTRA, 'allUnicast'],
      [spec.VIRTIO_NET_CTRL_RX_NOMULTI, spec.VIRTIO_NET_F_CTRL_RX_EXTRA, 'noMulticast'],
      [spec.VIRTIO_NET_CTRL_RX_NOUNI, spec.VIRTIO_NET_F_CTRL_RX_EXTRA, 'noUnicast'],
      [spec.VIRTIO_NET_CTRL_RX_NOBCAST, spec.VIRTIO_NET_F_CTRL_RX_EXTRA, 'noBroadcast'],
    ] as const
  ).map(([command, feature, mode]) => entry(spec.VIRTIO_NET_CTRL_RX, command, feature, setMode(mode))),
  entry(spec.VIRTIO_NET_CTRL_MAC, spec.VIRTIO_NET_CTRL_MAC_TABLE_SET, spec.VIRTIO_NET_F_CTRL_RX, setTables),
  entry(spec.VIRTIO_NET_CTRL_MAC, spec.VIRTIO_NET_CTRL_MAC_ADDR_SET, spec.VIRTIO_NET_F_CTRL_MAC_ADDR, setAddress),
  entry(spec.VIRTIO_NET_CTRL_VLAN, spec.VIRTIO_NET_CTRL_VLAN_ADD, spec.VIRTIO_NET_F_CTRL_VLAN, setVlan(true)),
  entry(spec.VIRTIO_NET_CTRL_VLAN, spec.VIRTIO_NET_CTRL_VLAN_DEL, spec.VIRTIO_NET_F_CTRL_VLAN, setVlan(false)),
  entry(
    spec.VIRTIO_NET_CTRL_ANNOUNCE,
    spec.VIRTIO_NET_CTRL_ANNOUNCE_ACK,
    spec.VIRTIO_NET_F_GUEST_ANNOUNCE,
    (_, target) => {
      target.announced();
      return true;
    },
  ),
]);

function entry(
  commandClass: number,
  command: number,
  feature: bigint,
  execute: Command,
): [number, readonly [bigint, Command]] {
  return [keyOf(commandClass, command), [feature, execute]];
}

function keyOf(commandClass: number, command: number): number {
  return commandClass * 256 + command;
}

/** "The command-specific-data is one byte containing 0 (off) or 1 (on)." */
function setMode(mode: keyof ReceiveModes): Command {
  return (data, { filter }) => {
    if (data.length !== 1 || (data[0] as number) > 1) return false;
    filter.modes[mode] = data[0] === 1;
    return true;
  };
}

/** Two tables, each a le32 and that many addresses: unicast first, then multicast. */
function setTables(data: Uint8Array, { filter }: ControlTarget): boolean {
  const unicast = tableAt(data, 0);
  if (unicast === undefined) return false;
  const multicast = tableAt(data, unicast.end);
  if (multicast === undefined || multicast.end !== data.length) return false;
  filter.setTables(unicast.addresses, multicast.addresses);
  return true;
}

interface Table {
  readonly addresses: readonly number[];
  /** Where it ends. */
  readonly end: number;
}

/** Undefined where the table does not fit the data. */
function tableAt(data: Uint8Array, at: number): Table | undefined {
  if (at + 4 > data.length) return undefined;
  const entries = new DataView(data.buffer, data.byteOffset).getUint32(at, true);
  const end = at + 4 + entries * spec.MAC_BYTES;
  if (end > data.length) return undefined;
  return { addresses: Array.from({ length: entries }, (_, i) => macNumber(data, at + 4 + i * spec.MAC_BYTES)), end };
}

function setAddress(data: Uint8Array, target: ControlTarget): boolean {
  try {
    checkMac(data);
  } catch {
    return false;
  }
  target.setMac(data);
  return true;
}

function setVlan(isWanted: boolean): Command {
  return (data, { filter }) =>
    data.length === 2 && filter.setVlan((data[0] as number) | ((data[1] as number) << 8), isWanted);
}

/** Executes the commands in the ring. */
export function control(queue: DeviceQueue, target: ControlTarget): void {
  queue.drain((chain) => {
    // Without room for ack the driver could not learn what became of the command: it is not executed.
    if (chain.writable.totalBytes === 0) return queue.markUsed(chain, 0);
    const ack = isExecuted(chain, target) ? spec.VIRTIO_NET_OK : spec.VIRTIO_NET_ERR;
    queue.markUsed(chain, chain.writable.copyFrom(Uint8Array.of(ack)));
  });
}

function isExecuted({ readable }: DescriptorChain, target: ControlTarget): boolean {
  if (readable.totalBytes < CLASS_AND_COMMAND || readable.totalBytes > COMMAND_BYTES_MAX) return false;
  const bytes = new Uint8Array(readable.totalBytes);
  readable.copyTo(bytes);
  const [feature, execute] = COMMANDS.get(keyOf(bytes[0] as number, bytes[1] as number)) ?? [];
  if (feature === undefined || execute === undefined || (target.features & feature) === 0n) return false;
  return execute(bytes.subarray(CLASS_AND_COMMAND), target);
}
