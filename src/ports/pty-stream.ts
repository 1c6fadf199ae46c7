// ports: a console's port at a pseudo-terminal, which any terminal program can open: screen, picocom, cat.
import { Duplex } from 'node:stream';
import { EventLoop } from '../sys/event-loop.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import { PseudoTerminal } from '../sys/pseudo-terminal.ts';
import type { ConsoleEnd } from './console-end.ts';

/** The kernel reports that a program closes the terminal a moment before it counts as closed. */
const CLOSING_LOOKS = 8;
const CLOSING_MS = 5;

/**
 * A pseudo-terminal as a stream, in raw mode. While no program has `path` open, what is written is dropped.
 *
 * @example
 * const terminal = new PtyStream();
 * console.log(`screen ${terminal.path}`);
 * const port = device.addPort({ name: 'shell', isConsole: true, stream: terminal });
 */
export class PtyStream extends Duplex implements ConsoleEnd {
  /** The terminal to open: /dev/pts/N. */
  readonly path: string;
  isOpen: boolean;
  onOpen: ConsoleEnd['onOpen'];
  bytesRead = 0;
  bytesWritten = 0;
  readonly #terminal: PseudoTerminal;
  readonly #loop = new EventLoop();
  readonly #ride: Disposable;
  #watch: Disposable | undefined;
  #isReading = false;
  /** What the program has not read yet. */
  #unread: { bytes: Uint8Array; readonly done: () => void } | undefined;

  /** @param terminal is closed with the stream. Default: a new one. Throws SystemError. */
  constructor(terminal: PseudoTerminal = PseudoTerminal.open()) {
    super({ decodeStrings: true });
    this.#terminal = terminal;
    this.path = terminal.path;
    this.#ride = rideNodeLoop(this.#loop);
    this.#loop.watch(terminal.changesFd, { readable: () => this.#changed() });
    terminal.clearChanges();
    this.isOpen = terminal.isInUse;
  }

  #changed(): void {
    this.#terminal.clearChanges();
    this.#look(CLOSING_LOOKS);
  }

  /** Finds out whether a program has it open. Looks again, for it may just be closing. */
  #look(looks: number): void {
    if (this.destroyed) return;
    const isOpen = this.#terminal.isInUse;
    if (isOpen && looks > 0) this.#loop.timer(CLOSING_MS * 2 ** (CLOSING_LOOKS - looks), () => this.#look(looks - 1));
    if (isOpen === this.isOpen) return;
    this.isOpen = isOpen;
    this.#listen();
    if (!isOpen) this.#written(0);
    this.onOpen?.(isOpen);
  }

  /** Watches for what is wanted. A terminal that nobody has open is hung up, and would be ready all the time. */
  #listen(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    if (!this.isOpen || !(this.#isReading || this.#unread)) return;
    this.#watch = this.#loop.watch(this.#terminal.fd, {
      ...(this.#isReading && { readable: () => this.#receive() }),
      ...(this.#unread && { writable: () => this.#send() }),
    });
  }

  override _read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#listen();
  }

  #receive(): void {
    try {
      const typed = this.#terminal.read();
      if (typed === undefined) return;
      this.bytesRead += typed.length;
      this.#isReading = this.push(typed);
      if (!this.#isReading) this.#listen();
    } catch {
      // EIO: it was closed.
      this.#look(CLOSING_LOOKS);
    }
  }

  override _write(bytes: Uint8Array, _encoding: string, done: () => void): void {
    if (!this.isOpen) return done();
    this.#unread = { bytes, done };
    this.#send();
    if (this.#unread !== undefined) this.#listen();
  }

  #send(): void {
    const { bytes } = this.#unread ?? {};
    if (bytes === undefined) return;
    try {
      this.#written(this.#terminal.write(bytes));
    } catch {
      this.#look(CLOSING_LOOKS);
    }
  }

  /** @param count bytes that were taken. What nobody will read is dropped. */
  #written(count: number): void {
    const unread = this.#unread;
    if (unread === undefined) return;
    this.bytesWritten += count;
    unread.bytes = unread.bytes.subarray(count);
    if (unread.bytes.length > 0 && this.isOpen) return;
    this.#unread = undefined;
    this.#listen();
    unread.done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#watch?.[Symbol.dispose]();
    this.#ride[Symbol.dispose]();
    this.#loop[Symbol.dispose]();
    this.#terminal[Symbol.dispose]();
    this.#unread?.done();
    this.#unread = undefined;
    done(error);
  }
}
