// vmm: the platform devices of a PC on their ports: serial port, clock, reset, power; the exit port; and how a
// machine ends.

import type { Registers } from '../transports/bus/registers.ts';
import { GSIS, PORTS } from './address-map.ts';
import type { Bus } from './bus.ts';
import { bytewise } from './byte-registers.ts';
import { CmosClock } from './cmos-clock.ts';
import type { Console } from './console.ts';
import { ASK_STATUS, type Shortcuts } from './exit-protocol.ts';
import { addPowerManagement } from './power-management.ts';
import { LINE_STATUS, SERIAL_PORT_BYTES, SerialPort } from './serial-port.ts';

const PULSE_RESET = 0xfe;

/**
 * How a machine ended. `power-off`: the guest powered it off (ACPI S5). `exit`: the guest wrote a code to the exit
 * port. `reset`: the guest requested a reset, for a reboot or after a panic. `failed`: it cannot go on; `why` is one
 * line. `stopped`: by `Machine.stop`.
 */
export type MachineExit =
  | { readonly how: 'power-off' }
  | { readonly how: 'exit'; readonly code: number }
  | { readonly how: 'reset' }
  | { readonly how: 'failed'; readonly why: string }
  | { readonly how: 'stopped' };

export interface PlatformOptions {
  readonly ports: Bus;
  /** Raises or lowers an interrupt line. */
  readonly setLine: (gsi: number, isHigh: boolean) => void;
  readonly console: Console;
  readonly end: (exit: MachineExit) => void;
  /** The serial port's line status, shared with the vCPU threads. */
  readonly status: Int32Array<SharedArrayBuffer>;
}

/** The shortcuts of the serial port for vCPU threads. */
export function serialShortcuts(): Shortcuts {
  const { serial: start } = PORTS;
  const status = new Int32Array(new SharedArrayBuffer(4)).fill(ASK_STATUS);
  return { start, end: start + SERIAL_PORT_BYTES, statusPort: start + LINE_STATUS, status };
}

/** Adds the platform devices to the port bus; returns the serial port, which receives the console's input. */
export function addPlatform({ ports, setLine, console, end, status }: PlatformOptions): SerialPort {
  const reset = (): void => end({ how: 'reset' });
  const serial = new SerialPort({
    transmit: (byte) => console.write(byte),
    interrupt: (isHigh) => setLine(GSIS.serial, isHigh),
    status: (value) => Atomics.store(status, 0, value ?? ASK_STATUS),
    onRoom: () => console.onRoom(),
  });
  ports.add(PORTS.serial, SERIAL_PORT_BYTES, bytewise(serial));
  ports.add(PORTS.cmos, 2, bytewise(new CmosClock()));
  ports.add(PORTS.keyboardController, 1, keyboardController(reset));
  addPowerManagement(ports, { powerOff: () => end({ how: 'power-off' }), reset });
  ports.add(PORTS.exit, 1, {
    read: () => 0,
    write: (_, __, value) => end({ how: 'exit', code: value & 0xff }),
  });
  return serial;
}

/** Port 0x64: no keyboard, only the command that pulses the processor's reset line. */
function keyboardController(reset: () => void): Registers {
  return {
    // Both buffers are empty: a command may be written, and there is nothing to read.
    read: () => 0,
    write: (_, __, value) => {
      if ((value & 0xff) === PULSE_RESET) reset();
    },
  };
}
