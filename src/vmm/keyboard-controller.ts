// The microVM: port 0x64: no keyboard, but the line to the processor's reset that has hung on its controller since 1984.
import type { Registers } from '../transports/bus/registers.ts';

const PULSE_RESET = 0xfe;

export function keyboardController(reset: () => void): Registers {
  return {
    // Both buffers are empty: a command may be written, and nothing is there to be read.
    read: () => 0,
    write: (_, __, value) => {
      if ((value & 0xff) === PULSE_RESET) reset();
    },
  };
}
