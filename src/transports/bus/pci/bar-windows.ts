// bus/pci: the BARs of a function: their size, the address that the driver chose, and whether they are mapped.
import type { Registers } from '../registers.ts';
import type { ConfigSpace } from './config-space.ts';
import { PCI_COMMAND_MEMORY, PciConfig } from './spec.ts';

/** The address space in which BARs are mapped. */
export interface PciMemory {
  /**
   * Maps the registers at `start`, until disposed. Throws RangeError where there is no room: the driver chose a bad
   * address.
   */
  add(start: number, sizeBytes: number, registers: Registers): Disposable;
}

interface Bar {
  readonly index: number;
  readonly sizeBytes: number;
  readonly registers: Registers;
  readonly onMove: ((address: number | undefined) => void) | undefined;
  address: number | undefined;
  shown: Disposable | undefined;
}

/** Maps a function's BARs as the driver writes them. */
export class BarWindows implements Disposable {
  readonly #config: ConfigSpace;
  readonly #memory: PciMemory;
  readonly #log: (line: string) => void;
  readonly #bars: Bar[] = [];

  constructor(config: ConfigSpace, memory: PciMemory, log: (line: string) => void) {
    this.#config = config;
    this.#memory = memory;
    this.#log = log;
  }

  /**
   * Adds a 32-bit memory BAR. `sizeBytes` is a power of two: the bits below it are read-only, from which the driver
   * finds the size. `onMove` is called with its new address, undefined for unmapped.
   */
  add(index: number, sizeBytes: number, registers: Registers, onMove?: (address: number | undefined) => void): void {
    this.#bars.push({ index, sizeBytes, registers, onMove, address: undefined, shown: undefined });
    const at = PciConfig.bar0 + 4 * index;
    this.#config.define(at, 4, 0, -sizeBytes >>> 0);
    this.#config.listen(at, 4, { afterWrite: () => this.update() });
  }

  /** Maps every BAR at the address that its register has now. */
  update(): void {
    const answers = (this.#config.view.getUint16(PciConfig.command, true) & PCI_COMMAND_MEMORY) !== 0;
    for (const bar of this.#bars) {
      const wanted = answers ? this.#config.view.getUint32(PciConfig.bar0 + 4 * bar.index, true) : 0;
      this.#show(bar, wanted === 0 ? undefined : wanted);
    }
  }

  #show(bar: Bar, address: number | undefined): void {
    if (bar.address === address) return;
    bar.address = address;
    bar.shown?.[Symbol.dispose]();
    bar.shown = undefined;
    try {
      if (address !== undefined) bar.shown = this.#memory.add(address, bar.sizeBytes, bar.registers);
    } catch {
      this.#log(`BAR ${bar.index} answers nowhere: the driver put it where there is no room`);
    }
    bar.onMove?.(bar.shown === undefined ? undefined : address);
  }

  [Symbol.dispose](): void {
    for (const bar of this.#bars) this.#show(bar, undefined);
  }
}
