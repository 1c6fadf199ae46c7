// vmm: the ports of the ACPI tables: power off (PM1), a timer, the reset register. ACPI 6.5, §4.8.
import type { Registers } from '../transports/bus/registers.ts';
import { PORTS } from './address-map.ts';
import type { Bus } from './bus.ts';
import { bytewise } from './byte-registers.ts';
import { SLEEP_TYPE_S5 } from './dsdt.ts';

/** PM1_CNT.SCI_EN: ACPI mode, always on here. */
const SCI_ENABLED = 1;
const SLEEP_TYPE_SHIFT = 10;
const SLEEP_TYPE_MASK = 7;
const SLEEP_ENABLE = 1 << 13;
/** The bits of PM1_CNT that keep what was written: all but SLP_EN, which is write-only. */
const KEPT = 0x1c07;

const TIMER_HZ = 3_579_545;
const TIMER_MASK = 0xff_ffff;

/** The value that the guest writes to the reset register; the FADT gives it. */
export const RESET_VALUE = 1;

export interface PowerSwitch {
  powerOff(): void;
  reset(): void;
}

export function addPowerManagement(ports: Bus, { powerOff, reset }: PowerSwitch): void {
  ports.add(PORTS.pmEvent, 4, eventBlock());
  ports.add(PORTS.pmControl, 2, controlBlock(powerOff));
  ports.add(PORTS.pmTimer, 4, timer());
  ports.add(PORTS.reset, 1, {
    read: () => 0,
    write: (_, __, value) => {
      if (value === RESET_VALUE) reset();
    },
  });
}

/** PM1_STS: no event ever happens. PM1_EN: keeps what was written, because guests check that. */
function eventBlock(): Registers {
  const enable = new Uint8Array(2);
  return bytewise({
    read: (offset) => enable[offset - enable.length] ?? 0,
    write: (offset, value) => {
      if (offset >= enable.length) enable[offset - enable.length] = value;
    },
  });
}

function controlBlock(powerOff: () => void): Registers {
  let control = SCI_ENABLED;
  return {
    read: (offset, sizeBytes) => (control >>> (8 * offset)) & (2 ** (8 * sizeBytes) - 1),
    write: (offset, sizeBytes, value) => {
      const mask = (2 ** (8 * sizeBytes) - 1) << (8 * offset);
      const written = (control & ~mask) | ((value << (8 * offset)) & mask);
      control = (written & KEPT) | SCI_ENABLED;
      const type = (written >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK;
      if ((written & SLEEP_ENABLE) !== 0 && type === SLEEP_TYPE_S5) powerOff();
    },
  };
}

/** A 24-bit counter at 3.58 MHz. */
function timer(): Registers {
  return {
    read: (offset, sizeBytes) => {
      const ticks = Math.floor((performance.now() * TIMER_HZ) / 1000) & TIMER_MASK;
      return (ticks >>> (8 * offset)) & (2 ** (8 * sizeBytes) - 1);
    },
    write: () => {},
  };
}
