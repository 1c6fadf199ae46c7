// cli: a log file that another program, such as logrotate, may move away; `reopen` opens its path again.
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

  /** Appends a line. Where writing fails, lines are lost and the first failure is logged on standard error. */
  append(line: string): void {
    try {
      writeSync(this.#fd, `${line}\n`);
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) console.error(`belfry: --log ${this.#path}: ${(error as Error).message}`);
      this.#failed = true;
    }
  }

  /** Opens the path again, as logrotate asks by SIGHUP. Throws Error; the old file then stays open. */
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
    // O_NONBLOCK: does not wait for a reader where the path is a FIFO.
    return openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o640);
  } catch (error) {
    throw new Error(`--log ${path}: ${(error as Error).message}`);
  }
}
