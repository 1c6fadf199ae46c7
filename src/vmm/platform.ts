// The microVM: the few devices every PC has, on their ports: serial port, clock, reset line, power; the exit port; and how a machine ends.

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
 * How a machine ended. `power-off`: the guest switched it off (ACPI S5). `exit`: it chose a code (the exit port). `reset`: it asked for a
 * reset: a reboot, or what a panic does in the end. `failed`: no processor can go on; `why` is one line. `stopped`: we stopped it.
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
  /** The serial port's status for whoever reads it elsewhere. */
  readonly status: Int32Array<SharedArrayBuffer>;
}

/** What vCPUs do without asking: most of what a guest does with its serial port. */
export function serialShortcuts(): Shortcuts {
  const { serial: start } = PORTS;
  const status = new Int32Array(new SharedArrayBuffer(4)).fill(ASK_STATUS);
  return { start, end: start + SERIAL_PORT_BYTES, statusPort: start + LINE_STATUS, status };
}

/** Gives the serial port: the console's input goes there. */
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

/** Port 0x64: no keyboard, but the line to the processor's reset that has hung on its controller since 1984. */
function keyboardController(reset: () => void): Registers {
  return {
    // Both buffers are empty: a command may be written, and nothing is there to be read.
    read: () => 0,
    write: (_, __, value) => {
      if ((value & 0xff) === PULSE_RESET) reset();
    },
  };
}
