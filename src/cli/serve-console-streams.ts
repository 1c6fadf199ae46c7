// cli: a served console on standard input and output: a terminal in raw mode, or pipes and files.
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { ServedDevice } from '../daemon/served-device.ts';
import { EscapeKeys } from './escape-keys.ts';

/** Typed keys that are buffered for the guest; more are dropped. */
const TYPED_BYTES_MAX = 64 * 1024;

const KEYS_HELP = [
  '',
  'Ctrl-A x  ends the console; the guest goes on without it',
  'Ctrl-A h  shows this; so does Ctrl-A ?',
  'Ctrl-A Ctrl-A is Ctrl-A for the guest; every other key, Ctrl-C too, goes to it as it is',
  '',
].join('\n');

export class ConsoleStreams implements Disposable {
  /** As lines name it. */
  readonly name: string;
  /** The size of the terminal, columns and rows, in shared memory. Absent where it is none. */
  readonly window?: Uint16Array<SharedArrayBuffer>;
  /** The keys that end it, as a sentence. Absent: Ctrl-C. */
  readonly keys?: string;
  readonly #line: Socket;
  readonly #typed: EscapeKeys;
  #device: ServedDevice | undefined;

  constructor(line: Socket) {
    const { stdin, stdout } = process;
    this.#line = line;
    this.name = stdin.isTTY ? 'this terminal' : 'standard input and output';
    if (stdin.isTTY) this.keys = 'Ctrl-A x ends it, Ctrl-A h shows the keys.';
    if (stdout.isTTY) this.window = new Uint16Array(new SharedArrayBuffer(4));
    this.#look();
    const help = (): void => void process.stderr.write(KEYS_HELP);
    this.#typed = new EscapeKeys({ x: leave, h: help, '?': help }, { passesOthers: false });
    passOn(line, stdout);
  }

  /** Reads input from now on, until disposed of, which may happen more than once. */
  start(device: ServedDevice): void {
    const { stdin, stdout } = process;
    this.#device = device;
    stdout.on('resize', this.#resized);
    stdin.on('error', () => {});
    if (!stdin.isTTY) return void stdin.pipe(this.#line, { end: false });
    process.on('exit', this.#restore);
    stdin.setRawMode(true);
    stdin.on('data', this.#onKeys);
    // The terminal has been closed.
    stdin.once('close', leave);
  }

  /** Does not stop reading while the guest is slow: Ctrl-A keys would be stuck behind the others. */
  readonly #onKeys = (typed: Uint8Array): void => {
    const bytes = this.#typed.take(typed);
    if (this.#line.writableLength < TYPED_BYTES_MAX) this.#line.write(bytes);
  };

  readonly #resized = (): void => {
    this.#look();
    this.#device?.refresh();
  };

  #look(): void {
    this.window?.set([process.stdout.columns, process.stdout.rows]);
  }

  readonly #restore = (): void => {
    if (process.stdin.isRaw) process.stdin.setRawMode(false);
  };

  [Symbol.dispose](): void {
    const { stdin, stdout } = process;
    stdin.off('close', leave).off('data', this.#onKeys).unpipe(this.#line).pause();
    stdout.off('resize', this.#resized);
    process.off('exit', this.#restore);
    this.#restore();
  }
}

/** Ends the service by SIGTERM: a second one does not wait for requests in flight. */
function leave(): void {
  process.kill(process.pid, 'SIGTERM');
}

/** Passes the guest's output to `target`, no faster than it drains. Drops it where that is destroyed. */
function passOn(line: Socket, target: Writable): void {
  line.on('data', (bytes) => {
    if (target.destroyed || target.write(bytes)) return;
    line.pause();
    const events = ['drain', 'close', 'error'];
    const goOn = (): void => {
      for (const event of events) target.off(event, goOn);
      line.resume();
    };
    for (const event of events) target.on(event, goOn);
  });
}
