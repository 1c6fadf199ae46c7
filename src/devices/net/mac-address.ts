// virtio-net: MAC addresses: parsed, printed, and as numbers for tables.
import { MAC_BYTES } from './spec.ts';

/** Parses `52:54:00:12:34:56`. Throws RangeError for another form, the zero address, and a multicast address. */
export function parseMac(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}$/i.test(text))
    throw new RangeError(`"${text}" is not a MAC address; six bytes like 52:54:00:12:34:56 are wanted`);
  const mac = Uint8Array.from(text.split(/[:-]/), (byte) => Number.parseInt(byte, 16));
  checkMac(mac);
  return mac;
}

/** Throws RangeError unless `mac` is the address of one card. */
export function checkMac(mac: Uint8Array): void {
  if (mac.length !== MAC_BYTES) throw new RangeError(`a MAC address has 6 bytes, this one has ${mac.length}`);
  if (mac.every((byte) => byte === 0)) throw new RangeError('the MAC address of no card is 00:00:00:00:00:00');
  if (isMulticast(mac))
    throw new RangeError(`${formatMac(mac)} is a multicast address; the first byte of a card's address is even`);
}

/** A random address that is locally administered. */
export function randomMac(): Uint8Array<ArrayBuffer> {
  const mac = crypto.getRandomValues(new Uint8Array(MAC_BYTES));
  mac[0] = ((mac[0] as number) & 0xfc) | 2;
  return mac;
}

/** Formats an address as `52:54:00:12:34:56`. */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac.subarray(0, MAC_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Whether a frame goes, or an address belongs, to several cards: broadcast too. */
export function isMulticast(frame: Uint8Array): boolean {
  return ((frame[0] as number) & 1) !== 0;
}

/** The address at byte `at` as a number below 2^48, for tables. */
export function macNumber(frame: Uint8Array, at = 0): number {
  let number = 0;
  for (let i = 0; i < MAC_BYTES; i++) number = number * 256 + (frame[at + i] as number);
  return number;
}

/** ff:ff:ff:ff:ff:ff as a number. */
export const BROADCAST = 2 ** 48 - 1;
