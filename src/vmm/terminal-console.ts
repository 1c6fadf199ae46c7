// vmm: the guest's console on this process's standard input and output: a terminal in raw mode, or pipes.
import type { ReadStream, WriteStream } from 'node:tty';
import type { Console } from './console.ts';

/** Output within this time is written together: a system call for each byte would take most of the time of a boot. */
const GATHER_MS = 2;
const GATHER_BYTES = 4096;
/** Ctrl-A: a following x leaves; any other byte goes to the guest. */
const ESCAPE = 0x01;
const LEAVE = 'x'.charCodeAt(0);

type Input = Pick<ReadStream, 'on' | 'off' | 'pause' | 'resume' | 'setRawMode' | 'isTTY'>;
type Output = Pick<WriteStream, 'write' | 'once' | 'off' | 'destroyed'>;

export interface TerminalConsoleOptions {
  readonly input: Input;
  readonly output: Output;
  /** Called for Ctrl-A x. */
  readonly onLeave: () => void;
}

/** A console on standard input and output, for the serial port or a virtio console. */
export class TerminalConsole implements Console {
  readonly #options: TerminalConsoleOptions;
  readonly #gathered = new Uint8Array(GATHER_BYTES);
  #count = 0;
  #timer: NodeJS.Timeout | undefined;
  #room: Promise<void> | undefined;
  #receive: (bytes: Uint8Array) => number = () => 0;
  #waiting = new Uint8Array(0);
  #isEscaped = false;
  #isStarted = false;

  constructor(options: TerminalConsoleOptions) {
    this.#options = options;
  }

  start(receive: (bytes: Uint8Array) => number): void {
    const { input } = this.#options;
    this.#receive = receive;
    this.#isStarted = true;
    if (input.isTTY) input.setRawMode(true);
    process.on('exit', this.#restore);
    input.on('data', this.#onData);
    // A terminal that is gone gives no more input, which is no reason to end the guest.
    input.on('error', () => {});
    input.resume();
  }

  readonly #restore = (): void => {
    if (this.#options.input.isTTY) this.#options.input.setRawMode(false);
  };

  readonly #onData = (data: Uint8Array): void => {
    this.#deliver(this.#options.input.isTTY ? this.#withoutEscapes(data) : data);
  };

  #withoutEscapes(data: Uint8Array): Uint8Array {
    return data.filter((byte) => {
      const isSecond = this.#isEscaped;
      this.#isEscaped = !isSecond && byte === ESCAPE;
      if (isSecond && byte === LEAVE) this.#options.onLeave();
      return !this.#isEscaped && !(isSecond && byte === LEAVE);
    });
  }

  /** Keeps the bytes that the port does not take, and pauses the input meanwhile. */
  #deliver(data: Uint8Array): void {
    const all = new Uint8Array(this.#waiting.length + data.length);
    all.set(this.#waiting);
    all.set(data, this.#waiting.length);
    this.#waiting = all.slice(this.#receive(all));
    if (this.#waiting.length > 0) this.#options.input.pause();
  }

  onRoom(): void {
    if (this.#waiting.length === 0) return;
    this.#deliver(new Uint8Array(0));
    if (this.#waiting.length === 0 && this.#isStarted) this.#options.input.resume();
  }

  write(byte: number): void | Promise<void> {
    this.#gathered[this.#count++] = byte;
    if (this.#count === GATHER_BYTES) this.#flush();
    else this.#timer ??= setTimeout(this.#flush, GATHER_MS);
    return this.#room;
  }

  /** Writes bytes at once, after those that were gathered. If it returns a promise, the guest waits. */
  writeBytes(bytes: Uint8Array): void | Promise<void> {
    this.#flush();
    this.#put(bytes);
    return this.#room;
  }

  readonly #flush = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const bytes = this.#gathered.slice(0, this.#count);
    this.#count = 0;
    if (bytes.length > 0) this.#put(bytes);
  };

  #put(bytes: Uint8Array): void {
    const { output } = this.#options;
    // Without a reader output is dropped.
    if (output.write(bytes) || output.destroyed || this.#room !== undefined) return;
    this.#room = new Promise((resolve) => {
      const go = (): void => {
        this.#room = undefined;
        for (const event of ['drain', 'close', 'error']) output.off(event, go);
        resolve();
      };
      for (const event of ['drain', 'close', 'error']) output.once(event, go);
    });
  }

  stop(): void {
    this.#flush();
    if (!this.#isStarted) return;
    this.#isStarted = false;
    const { input } = this.#options;
    input.off('data', this.#onData);
    input.pause();
    process.off('exit', this.#restore);
    this.#restore();
  }
}
