// vmm: the guest's /dev/hvc0 on a terminal of this process; what the serial port prints is shown there too.
import { ConsoleDevice } from '../devices/console/console-device.ts';
import type { ConsoleSize } from '../devices/console/console-size.ts';
import type { Console } from './console.ts';
import type { TerminalConsole } from './terminal-console.ts';

/** Makes a console device of a terminal. For the machine it is the console of a serial port that gets no input. */
export class VirtioTerminal implements Console {
  /** The device, to plug in. */
  readonly device: ConsoleDevice;
  readonly #terminal: TerminalConsole;
  #isFull = false;

  /** @param size the window. Absent: the terminal has none. */
  constructor(terminal: TerminalConsole, size: ConsoleSize | undefined) {
    this.#terminal = terminal;
    this.device = new ConsoleDevice({ output: (bytes) => terminal.writeBytes(bytes), ...(size && { size }) });
  }

  write(byte: number): void | Promise<void> {
    return this.#terminal.write(byte);
  }

  start(): void {
    this.#terminal.start((bytes) => this.#receive(bytes));
  }

  /** The terminal is not read while the guest has much to read still. */
  #receive(bytes: Uint8Array): number {
    if (this.#isFull || bytes.length === 0) return 0;
    this.#isFull = true;
    void this.device.push(bytes).then(() => {
      this.#isFull = false;
      this.#terminal.onRoom();
    });
    return bytes.length;
  }

  onRoom(): void {}

  stop(): void {
    this.#terminal.stop();
  }
}
