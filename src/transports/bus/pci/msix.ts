// bus/pci: MSI-X (PCI 3.0 §6.8.2): a table of messages, an irqfd for each unmasked vector, a pending bit for each
// masked one.
import assert from 'node:assert/strict';
import { EventFd } from '../../../sys/event-fd.ts';
import type { MsiMessage } from '../../../sys/msi-message.ts';
import type { Registers } from '../registers.ts';
import { Bar1, MSIX_ENTRY_BYTES, MSIX_ENTRY_MASKED, MsixEntry } from './spec.ts';

/** The message interrupts of one function in the kernel. */
export interface MsiPort {
  /**
   * Makes signals of the eventfd send the message, until disposed, which leaves the eventfd empty; an earlier count
   * sends it once. A vector is assigned again with the same message at each unmasking, so a port may keep its route.
   * Throws SystemError.
   */
  assign(vector: number, message: MsiMessage, eventFd: EventFd): Disposable;
}

interface Vector {
  readonly eventFd: EventFd;
  /** The assignment while the vector is unmasked. */
  sending: Disposable | undefined;
  /** Signalled while masked, and taken from the eventfd by a read of the pending bits. */
  pending: boolean;
}

/** The registers of the BAR that table and pending bits are in. */
export class Msix implements Registers, Disposable {
  readonly count: number;
  readonly #port: MsiPort;
  readonly #log: (line: string) => void;
  readonly #vectors: readonly Vector[];
  readonly #table: DataView<ArrayBuffer>;
  #enabled = false;
  #masked = false;

  /** `count` vectors, up to 2048. Throws SystemError when there are no eventfds left. */
  constructor(count: number, port: MsiPort, log: (line: string) => void) {
    this.count = count;
    this.#port = port;
    this.#log = log;
    this.#vectors = Array.from({ length: count }, () => ({
      eventFd: EventFd.create(),
      sending: undefined,
      pending: false,
    }));
    this.#table = new DataView(new ArrayBuffer(count * MSIX_ENTRY_BYTES));
    // Until the driver has written a message there is none to send.
    for (let vector = 0; vector < count; vector++)
      this.#table.setUint32(vector * MSIX_ENTRY_BYTES + MsixEntry.control, MSIX_ENTRY_MASKED, true);
  }

  /**
   * The eventfd whose signals send the vector, now or when it is unmasked. Undefined for a vector that does not exist.
   */
  eventFd(vector: number): EventFd | undefined {
    return this.#vectors[vector]?.eventFd;
  }

  /** Sets the Enable and Function Mask bits: without `enabled`, or with `masked`, every vector stays pending. */
  control(enabled: boolean, masked: boolean): void {
    this.#enabled = enabled;
    this.#masked = masked;
    for (let vector = 0; vector < this.count; vector++) this.#update(vector);
  }

  read(offset: number, sizeBytes: number): number {
    // Other accesses are undefined.
    if (sizeBytes !== 4 || offset % 4 !== 0) return 0;
    if (offset < this.#table.byteLength) return this.#table.getUint32(offset, true);
    return offset >= Bar1.pending ? this.#pendingWord((offset - Bar1.pending) / 4) : 0;
  }

  write(offset: number, sizeBytes: number, value: number): void {
    if (sizeBytes !== 4 || offset % 4 !== 0 || offset >= this.#table.byteLength) return;
    const vector = Math.floor(offset / MSIX_ENTRY_BYTES);
    const isControl = offset % MSIX_ENTRY_BYTES === MsixEntry.control;
    this.#table.setUint32(offset, isControl ? value & MSIX_ENTRY_MASKED : value, true);
    if (!isControl) this.#disconnect(vector);
    this.#update(vector);
  }

  #update(vector: number): void {
    const control = this.#table.getUint32(vector * MSIX_ENTRY_BYTES + MsixEntry.control, true);
    if (this.#enabled && !this.#masked && (control & MSIX_ENTRY_MASKED) === 0) this.#connect(vector);
    else this.#disconnect(vector);
  }

  #connect(index: number): void {
    const vector = this.#vectors[index];
    assert(vector !== undefined, `no vector ${index}`);
    if (vector.sending !== undefined) return;
    if (vector.pending) vector.eventFd.signal();
    vector.pending = false;
    try {
      vector.sending = this.#port.assign(index, this.#message(index), vector.eventFd);
    } catch (problem) {
      this.#log(`MSI-X vector ${index} stays masked: ${(problem as Error).message}`);
    }
  }

  #disconnect(index: number): void {
    const vector = this.#vectors[index];
    assert(vector !== undefined, `no vector ${index}`);
    vector.sending?.[Symbol.dispose]();
    vector.sending = undefined;
  }

  #message(vector: number): MsiMessage {
    const at = vector * MSIX_ENTRY_BYTES;
    const word = (field: number): number => this.#table.getUint32(at + field, true);
    return {
      address: word(MsixEntry.addressHigh) * 2 ** 32 + word(MsixEntry.addressLow),
      data: word(MsixEntry.data),
    };
  }

  /** 32 pending bits. A masked vector's signals are in its eventfd. */
  #pendingWord(index: number): number {
    let word = 0;
    for (let bit = 0; bit < 32; bit++) {
      const vector = this.#vectors[32 * index + bit];
      if (vector === undefined || vector.sending !== undefined) continue;
      vector.pending = vector.eventFd.clear() || vector.pending;
      if (vector.pending) word += 2 ** bit;
    }
    return word;
  }

  [Symbol.dispose](): void {
    for (const [index, { eventFd }] of this.#vectors.entries()) {
      this.#disconnect(index);
      eventFd[Symbol.dispose]();
    }
  }
}
