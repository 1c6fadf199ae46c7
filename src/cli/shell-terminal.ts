// cli: the terminal of `belfry shell`: in raw mode while the guest has it, then restored.
import type { Transform } from 'node:stream';
import type { ReadStream, WriteStream } from 'node:tty';
import type { ShellTerminal as TerminalTraits } from '../../guests/shell-script.ts';
import { EscapeKeys, keyStream, keysHelp } from './escape-keys.ts';

export interface TerminalStreams {
  readonly input: ReadStream;
  readonly output: WriteStream;
}

export class ShellTerminal implements Disposable {
  /** The typed keys that are for the guest. */
  readonly keys: Transform;
  readonly #streams: TerminalStreams;
  readonly #restore = (): void => {
    if (this.#streams.input.isRaw) this.#streams.input.setRawMode(false);
  };

  /** @param onLeave called on Ctrl-A x. */
  constructor(streams: TerminalStreams, onLeave: () => void) {
    this.#streams = streams;
    this.keys = keyStream(new EscapeKeys({ x: onLeave, h: this.#help, '?': this.#help }, { passesOthers: false }));
  }

  get traits(): TerminalTraits {
    const { columns = 0, rows = 0 } = this.#streams.output;
    return { columns, rows, type: process.env.TERM ?? 'vt100' };
  }

  /** Passes keys to the guest from now on. */
  take(): void {
    const { input } = this.#streams;
    input.setRawMode(true);
    // Also restored when the process exits without disposing of this.
    process.on('exit', this.#restore);
    input.on('error', () => {});
    input.pipe(this.keys);
  }

  readonly #help = (): void => {
    this.#streams.output.write(keysHelp('exit'));
  };

  [Symbol.dispose](): void {
    const { input } = this.#streams;
    input.unpipe(this.keys);
    input.pause();
    process.off('exit', this.#restore);
    this.#restore();
  }
}
