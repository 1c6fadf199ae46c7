// bus/pci: the configuration space of a PCI function: bytes, which of their bits are writable, and listeners for
// accesses.
import type { Registers } from '../registers.ts';
import { PCI_CONFIG_BYTES, PCI_HEADER_BYTES, PciConfig } from './spec.ts';

/** Called for accesses that overlap a range: before a read, after a write. */
interface Listener {
  readonly start: number;
  readonly end: number;
  readonly beforeRead?: () => void;
  readonly afterWrite?: () => void | Promise<void>;
}

/** 256 bytes of configuration space. */
export class ConfigSpace implements Registers {
  readonly view = new DataView(new ArrayBuffer(PCI_CONFIG_BYTES));
  readonly #writable = new DataView(new ArrayBuffer(PCI_CONFIG_BYTES));
  readonly #listeners: Listener[] = [];
  #free = PCI_HEADER_BYTES;
  #lastPointer: number = PciConfig.capabilities;

  /** Sets a word, and which of its bits the driver can write. */
  define(offset: number, sizeBytes: 1 | 2 | 4, value: number, writable = 0): void {
    for (let i = 0; i < sizeBytes; i++) {
      this.view.setUint8(offset + i, value >>> (8 * i));
      this.#writable.setUint8(offset + i, writable >>> (8 * i));
    }
  }

  /** Appends a capability of `sizeBytes` to the list and returns its offset. */
  addCapability(id: number, sizeBytes: number): number {
    const at = this.#free;
    this.view.setUint8(this.#lastPointer, at);
    this.view.setUint8(at, id);
    this.#lastPointer = at + 1;
    this.#free = at + Math.ceil(sizeBytes / 4) * 4;
    return at;
  }

  /** Adds a listener for accesses to a range. */
  listen(start: number, sizeBytes: number, listener: Omit<Listener, 'start' | 'end'>): void {
    this.#listeners.push({ start, end: start + sizeBytes, ...listener });
  }

  read(offset: number, sizeBytes: number): number {
    for (const { start, end, beforeRead } of this.#listeners)
      if (offset < end && offset + sizeBytes > start) beforeRead?.();
    let value = 0;
    for (let i = 0; i < sizeBytes && offset + i < PCI_CONFIG_BYTES; i++)
      value += this.view.getUint8(offset + i) * 2 ** (8 * i);
    return value;
  }

  write(offset: number, sizeBytes: number, value: number): void | Promise<void> {
    for (let i = 0; i < sizeBytes && offset + i < PCI_CONFIG_BYTES; i++) {
      const writable = this.#writable.getUint8(offset + i);
      const kept = this.view.getUint8(offset + i) & ~writable;
      this.view.setUint8(offset + i, kept | ((value >>> (8 * i)) & writable));
    }
    const waits: Promise<void>[] = [];
    for (const { start, end, afterWrite } of this.#listeners) {
      if (offset >= end || offset + sizeBytes <= start) continue;
      const wait = afterWrite?.();
      if (wait !== undefined) waits.push(wait);
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => {});
  }
}
