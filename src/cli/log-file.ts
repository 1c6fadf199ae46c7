// Upper floor: a file that lines are appended to, and that somebody else may move away: opened again, it is a new one.
import { closeSync, constants, openSync, writeSync } from 'node:fs';

const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK } = constants;

export class LogFile implements Disposable {
  readonly #path: string;
  #fd: number;
  #failed = false;

  /** Throws Error with one line when the file cannot be opened. */
  constructor(path: string) {
    this.#path = path;
    this.#fd = openLog(path);
  }

  /** Appends a line. A full disk costs the lines, and one on standard error. */
  append(line: string): void {
    try {
      writeSync(this.#fd, `${line}\n`);
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) console.error(`belfry: --log ${this.#path}: ${(error as Error).message}`);
      this.#failed = true;
    }
  }

  /** Opens the path once more, as logrotate asks by SIGHUP. Where that throws, the old file stays. */
  reopen(): void {
    const fd = openLog(this.#path);
    closeSync(this.#fd);
    this.#fd = fd;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function openLog(path: string): number {
  try {
    // Not waiting for a reader, where it is a FIFO.
    return openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o640);
  } catch (error) {
    throw new Error(`--log ${path}: ${(error as Error).message}`);
  }
}
