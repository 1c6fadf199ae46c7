// virtio-net: which frames the driver wants: its MAC address, its tables, its modes, its VLANs. §5.1.6.5.
import { BROADCAST, isMulticast, macNumber } from './mac-address.ts';
import { ETHERNET_BYTES, MAC_BYTES, VLAN_TAG_BYTES } from './spec.ts';

/** Addresses of each kind that are kept. With more, all frames of that kind are received, as §5.1.6.5.2 allows. */
export const TABLE_MAX = 64;
const VLANS = 4096;
/** The EtherType of a tag of IEEE 802.1Q. */
const TAGGED = 0x8100;

/** The receive modes of §5.1.6.5.1. */
export interface ReceiveModes {
  promiscuous: boolean;
  allMulticast: boolean;
  allUnicast: boolean;
  noMulticast: boolean;
  noUnicast: boolean;
  noBroadcast: boolean;
}

/** Decides which frames reach the driver. */
export class FrameFilter {
  /** Promiscuous at first: a VMM may keep the control queue to itself, and then no command comes. */
  readonly modes: ReceiveModes = {
    promiscuous: true,
    allMulticast: false,
    allUnicast: false,
    noMulticast: false,
    noUnicast: false,
    noBroadcast: false,
  };
  #mac: number;
  /** By address, both kinds. Undefined: all are received. */
  #unicast: ReadonlySet<number> | undefined = new Set();
  #multicast: ReadonlySet<number> | undefined = new Set();
  readonly #vlans = new Uint8Array(VLANS);
  readonly #filtersVlans: boolean;

  constructor(mac: Uint8Array, filtersVlans: boolean) {
    this.#mac = macNumber(mac);
    this.#filtersVlans = filtersVlans;
  }

  /** Sets the address that is received besides the table. */
  setMac(mac: Uint8Array): void {
    this.#mac = macNumber(mac);
  }

  /** Replaces both tables. */
  setTables(unicast: readonly number[], multicast: readonly number[]): void {
    this.#unicast = unicast.length > TABLE_MAX ? undefined : new Set(unicast);
    this.#multicast = multicast.length > TABLE_MAX ? undefined : new Set(multicast);
  }

  /** Adds a VLAN, or removes it. Returns false for a number that no VLAN has. */
  setVlan(vlan: number, isWanted: boolean): boolean {
    if (vlan >= VLANS) return false;
    this.#vlans[vlan] = isWanted ? 1 : 0;
    return true;
  }

  /** Whether the driver wants a frame. */
  accepts(frame: Uint8Array): boolean {
    if (this.#filtersVlans && !this.#acceptsVlan(frame)) return false;
    const { modes } = this;
    if (modes.promiscuous) return true;
    const to = macNumber(frame);
    if (to === BROADCAST) return !modes.noBroadcast;
    if (isMulticast(frame))
      return !modes.noMulticast && (modes.allMulticast || this.#multicast === undefined || this.#multicast.has(to));
    if (modes.noUnicast) return false;
    return modes.allUnicast || to === this.#mac || this.#unicast === undefined || this.#unicast.has(to);
  }

  /** "SHOULD drop all VLAN tagged packets whose VLAN tag is absent in the VLAN filter table". */
  #acceptsVlan(frame: Uint8Array): boolean {
    if (!isTagged(frame)) return true;
    return this.#vlans[(((frame[ETHERNET_BYTES] as number) & 0x0f) << 8) | (frame[ETHERNET_BYTES + 1] as number)] === 1;
  }
}

/** Whether a frame has a tag of IEEE 802.1Q. */
export function isTagged(frame: Uint8Array): boolean {
  const type = 2 * MAC_BYTES;
  if (frame.length < ETHERNET_BYTES + VLAN_TAG_BYTES) return false;
  return (frame[type] as number) === TAGGED >> 8 && (frame[type + 1] as number) === (TAGGED & 0xff);
}
