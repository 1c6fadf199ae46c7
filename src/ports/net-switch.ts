// ports: a switch that joins the network cards of one thread: it learns addresses, and copies frames from ring to ring.
import type { NetPort } from '../devices/net/net-port.ts';

/** Addresses that are remembered of one port. A guest that sends from more replaces its own oldest ones. */
export const ADDRESSES_MAX = 64;
/** An address that was not seen for this long is forgotten, as IEEE 802.1D recommends. */
export const AGE_MS = 300_000;

// The Ethernet header: destination, source. VIRTIO_NET_F_CSUM and VIRTIO_NET_F_GUEST_CSUM are bits 0 and 1.
const SOURCE = 6;
const CHECKSUMS = 0b11n;
/** 01:80:c2:00:00:00 to 01:80:c2:00:00:0f: of the link itself, never forwarded (IEEE 802.1D, 7.12.6). */
const LINK_LOCAL = 0x0180_c200_0000;

/** Where an address was seen. */
interface Place {
  readonly port: SwitchPort;
  seenMs: number;
}

/** The options of a switch. */
export interface NetSwitchOptions {
  /** The clock, in ms. Default: `performance.now`. */
  readonly now?: () => number;
}

/**
 * A switch for network cards that one thread serves. A frame goes to the port where its destination was seen, else to
 * all others. Each card has a bounded queue for frames that its guest has no buffer for.
 */
export class NetSwitch {
  readonly #ports = new Set<SwitchPort>();
  readonly #places = new Map<number, Place>();
  readonly #now: () => number;

  constructor({ now = () => performance.now() }: NetSwitchOptions = {}) {
    this.#now = now;
  }

  /** Returns a new port, for one card. */
  port(): SwitchPort {
    const port = new SwitchPort({
      send: (frame, header) => this.#forward(port, frame, header),
      close: () => this.#remove(port),
    });
    this.#ports.add(port);
    return port;
  }

  /** How many addresses it remembers. */
  get addresses(): number {
    return this.#places.size;
  }

  #forward(from: SwitchPort, frame: Uint8Array, header: Uint8Array): boolean {
    if (((frame[SOURCE] as number) & 1) !== 0) return false;
    this.#learn(from, addressAt(frame, SOURCE));
    const to = addressAt(frame, 0);
    if (to - (to % 16) === LINK_LOCAL) return false;
    const place = ((frame[0] as number) & 1) === 0 ? this.#placeOf(to) : undefined;
    if (place === undefined) for (const port of this.#ports) port !== from && port.onFrame?.(frame, header);
    // A frame to an address behind the port it comes from is not for the switch.
    else if (place !== from) place.onFrame?.(frame, header);
    return true;
  }

  #learn(port: SwitchPort, address: number): void {
    const nowMs = this.#now();
    const place = this.#places.get(address);
    if (place?.port === port) {
      place.seenMs = nowMs;
      return;
    }
    place?.port.addresses.delete(address);
    if (port.addresses.size === ADDRESSES_MAX) this.#forget(port, this.#oldestOf(port));
    port.addresses.add(address);
    this.#places.set(address, { port, seenMs: nowMs });
  }

  #oldestOf({ addresses }: SwitchPort): number {
    const seenMs = (address: number): number => this.#places.get(address)?.seenMs ?? 0;
    return [...addresses].reduce((oldest, address) => (seenMs(address) < seenMs(oldest) ? address : oldest));
  }

  #placeOf(address: number): SwitchPort | undefined {
    const place = this.#places.get(address);
    if (place === undefined) return undefined;
    if (this.#now() - place.seenMs < AGE_MS) return place.port;
    this.#forget(place.port, address);
    return undefined;
  }

  #forget(port: SwitchPort, address: number): void {
    port.addresses.delete(address);
    this.#places.delete(address);
  }

  #remove(port: SwitchPort): void {
    this.#ports.delete(port);
    for (const address of port.addresses) this.#places.delete(address);
    port.addresses.clear();
  }
}

/** A port of a switch, for one card. */
export class SwitchPort implements NetPort {
  /** Partial checksums go from guest to guest; a card completes them for a driver that does not take them. */
  readonly offloads = CHECKSUMS;
  onFrame: NetPort['onFrame'];
  onLink: NetPort['onLink'];
  /** The addresses seen behind it. */
  readonly addresses = new Set<number>();
  readonly #to: { send(frame: Uint8Array, header: Uint8Array): boolean; close(): void };

  constructor(to: { send(frame: Uint8Array, header: Uint8Array): boolean; close(): void }) {
    this.#to = to;
  }

  send(frame: Uint8Array, header: Uint8Array): boolean {
    return this.#to.send(frame, header);
  }

  close(): void {
    this.#to.close();
  }
}

function addressAt(frame: Uint8Array, at: number): number {
  let number = 0;
  for (let i = 0; i < SOURCE; i++) number = number * 256 + (frame[at + i] as number);
  return number;
}
