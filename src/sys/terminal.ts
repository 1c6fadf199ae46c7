// sys: the settings of a terminal, to restore them from any thread. termios(3).
import { isatty } from 'node:tty';
import { libc } from './libc.ts';
import { callScratch } from './scratch.ts';

/** struct termios has 60 bytes in glibc, and 60 in musl. */
const TERMIOS_BYTES = 64;
const TCSANOW = 0;

/** Returns the settings of the terminal at `fd`, which other threads can restore; undefined where it is none. */
export function terminalSettings(fd: number): Uint8Array<SharedArrayBuffer> | undefined {
  // SAFETY: a struct termios in this thread's scratch.
  if (!isatty(fd) || libc.tcgetattr(fd, callScratch.address) !== 0) return undefined;
  const settings = new Uint8Array(new SharedArrayBuffer(TERMIOS_BYTES));
  settings.set(callScratch.bytes.subarray(0, TERMIOS_BYTES));
  return settings;
}

/** Restores what `terminalSettings` returned. Does not wait for output that the terminal has not shown. */
export function restoreTerminal(fd: number, settings: Uint8Array): void {
  callScratch.bytes.set(settings);
  // SAFETY: as above; the kernel only reads it, and an error leaves the terminal as it is.
  libc.tcsetattr(fd, TCSANOW, callScratch.address);
}
