// The microVM: a bus: which device answers at an address. There are two, for ports and for memory.
import type { Registers } from '../transports/bus/registers.ts';

interface Range {
  readonly start: number;
  readonly end: number;
  readonly registers: Registers;
}

/** All ones, in so many bytes: what a read gives that nobody answers. */
export const allOnes = (sizeBytes: number): number => 2 ** (8 * sizeBytes) - 1;

export class Bus {
  /** By address, without overlap. */
  #ranges: Range[] = [];

  /**
   * Has `registers` answer for [start, start + sizeBytes), until disposed. Throws RangeError where somebody stands there already: a
   * hostile driver can ask for that by moving a BAR, so who moves one is prepared for it.
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

  /** `sizeBytes` is 1, 2 or 4. What reaches beyond a device is read byte by byte. */
  read(address: number, sizeBytes: number): number {
    const range = this.#at(address);
    if (range !== undefined && address + sizeBytes <= range.end)
      return range.registers.read(address - range.start, sizeBytes) >>> 0;
    if (sizeBytes === 1) return 0xff;
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) value += this.read(address + i, 1) * 2 ** (8 * i);
    return value;
  }

  /** As `read`. The promise is fulfilled when the last device has taken its part; with none, it has by now. */
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

  /** How many ranges begin at or before an address. */
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
