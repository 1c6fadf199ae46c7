// vmm: a bus, which maps addresses to devices. There are two, for ports and for memory.
import type { Registers } from '../transports/bus/registers.ts';

interface Range {
  readonly start: number;
  readonly end: number;
  readonly registers: Registers;
}

/** All ones in `sizeBytes` bytes: the value of a read without a device. */
export const allOnes = (sizeBytes: number): number => 2 ** (8 * sizeBytes) - 1;

/** Maps ranges of addresses to registers. */
export class Bus {
  /** By address, without overlap. */
  #ranges: Range[] = [];

  /**
   * Maps `registers` at [start, start + sizeBytes), until disposed. Throws RangeError if a device is there already. An
   * untrusted driver can cause that by moving a BAR, so the code that moves BARs has to catch it.
   */
  add(start: number, sizeBytes: number, registers: Registers): Disposable {
    const range: Range = { start, end: start + sizeBytes, registers };
    const at = this.#after(start);
    const [before, behind] = [this.#ranges[at - 1], this.#ranges[at]];
    const other = before !== undefined && before.end > start ? before : behind;
    if (other !== undefined && other.start < range.end && other.end > start)
      throw new RangeError(`${hex(range)} is taken: there is a device at ${hex(other)}`);
    this.#ranges.splice(at, 0, range);
    return {
      [Symbol.dispose]: () => {
        this.#ranges = this.#ranges.filter((one) => one !== range);
      },
    };
  }

  /** `sizeBytes` is 1, 2 or 4. An access beyond the end of a device is split into bytes. */
  read(address: number, sizeBytes: number): number {
    const range = this.#at(address);
    if (range !== undefined && address + sizeBytes <= range.end)
      return range.registers.read(address - range.start, sizeBytes) >>> 0;
    if (sizeBytes === 1) return 0xff;
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) value += this.read(address + i, 1) * 2 ** (8 * i);
    return value;
  }

  /** As `read`. Returns a promise if a device does; it resolves when all devices have taken their part. */
  write(address: number, sizeBytes: number, value: number): void | Promise<void> {
    const range = this.#at(address);
    if (range !== undefined && address + sizeBytes <= range.end)
      return range.registers.write(address - range.start, sizeBytes, value);
    if (sizeBytes === 1) return;
    return this.#writeBytes(address, sizeBytes, value);
  }

  #writeBytes(address: number, sizeBytes: number, value: number): void | Promise<void> {
    const waits: Promise<void>[] = [];
    for (let i = 0; i < sizeBytes; i++) {
      const wait = this.write(address + i, 1, (value >>> (8 * i)) & 0xff);
      if (wait !== undefined) waits.push(wait);
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => {});
  }

  #at(address: number): Range | undefined {
    const range = this.#ranges[this.#after(address) - 1];
    return range !== undefined && address < range.end ? range : undefined;
  }

  /** Returns how many ranges begin at or before an address. */
  #after(address: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle] as Range).start <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function hex({ start, end }: Range): string {
  return `0x${start.toString(16)}..0x${(end - 1).toString(16)}`;
}
