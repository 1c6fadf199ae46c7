// cli: the keys of `belfry run`: Ctrl-A h and Ctrl-A ? show help, everything else is for the machine's console.
import type { ReadStream } from 'node:tty';
import { EscapeKeys, keyStream, keysHelp } from './escape-keys.ts';

/** What the console of a machine reads. */
export type ConsoleInput = Pick<ReadStream, 'on' | 'off' | 'pause' | 'resume' | 'setRawMode' | 'isTTY'>;

export class ConsoleKeys implements Disposable {
  /** `terminal` without the keys that are handled here; an input that is no terminal is passed on as it is. */
  readonly input: ConsoleInput;
  readonly #terminal: ReadStream;

  constructor(terminal: ReadStream, show: (text: string) => void) {
    this.#terminal = terminal;
    if (!terminal.isTTY) {
      this.input = terminal;
      return;
    }
    const help = (): void => show(keysHelp('poweroff'));
    const keys = keyStream(new EscapeKeys({ h: help, '?': help }, { passesOthers: true }));
    terminal.on('error', () => {});
    terminal.pipe(keys);
    const traits = { isTTY: true, setRawMode: (mode: boolean) => terminal.setRawMode(mode) };
    this.input = Object.assign(keys, traits) as unknown as ConsoleInput;
  }

  /** Stops reading the terminal, which would keep this process alive. */
  [Symbol.dispose](): void {
    this.#terminal.unpipe();
    this.#terminal.pause();
  }
}
