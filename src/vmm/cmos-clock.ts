// vmm: the clock and the small memory at ports 0x70 and 0x71 (MC146818), as far as a booting kernel needs it.
// UTC.
import type { ByteRegisters } from './byte-registers.ts';

const ADDRESS = 0;
const ADDRESS_MASK = 0x7f;
const STATUS_A = 0x0a;
const STATUS_B = 0x0b;
const STATUS_C = 0x0c;
const STATUS_D = 0x0d;
const CENTURY = 0x32;
const MEMORY_BYTES = 0x80;

/** 32.768 kHz, 1024 interrupts a second; no update in progress. */
const DIVIDER = 0x26;
const HOURS_24 = 2;
const BINARY = 4;
const BATTERY_GOOD = 0x80;

type Field = (now: Date) => number;
const TIME: { readonly [address: number]: Field } = {
  0: (now) => now.getUTCSeconds(),
  2: (now) => now.getUTCMinutes(),
  4: (now) => now.getUTCHours(),
  6: (now) => now.getUTCDay() + 1,
  7: (now) => now.getUTCDate(),
  8: (now) => now.getUTCMonth() + 1,
  9: (now) => now.getUTCFullYear() % 100,
  [CENTURY]: (now) => Math.floor(now.getUTCFullYear() / 100),
};

/** A clock with the host's time. Writes to the time are ignored, and there is no alarm. */
export class CmosClock implements ByteRegisters {
  readonly #memory = new Uint8Array(MEMORY_BYTES);
  readonly #now: () => Date;
  #address = 0;

  constructor(now: () => Date = () => new Date()) {
    this.#now = now;
    this.#memory[STATUS_B] = HOURS_24;
  }

  read(offset: number): number {
    if (offset === ADDRESS) return 0xff;
    const address = this.#address;
    const field = TIME[address];
    if (field !== undefined) return this.#encoded(field(this.#now()));
    if (address === STATUS_A) return DIVIDER;
    if (address === STATUS_C) return 0;
    if (address === STATUS_D) return BATTERY_GOOD;
    return this.#memory[address] as number;
  }

  write(offset: number, value: number): void {
    if (offset === ADDRESS) this.#address = value & ADDRESS_MASK;
    else if (this.#address === STATUS_B) this.#memory[STATUS_B] = value | HOURS_24;
    else this.#memory[this.#address] = value;
  }

  #encoded(value: number): number {
    const isBinary = ((this.#memory[STATUS_B] as number) & BINARY) !== 0;
    return isBinary ? value : Math.floor(value / 10) * 16 + (value % 10);
  }
}
