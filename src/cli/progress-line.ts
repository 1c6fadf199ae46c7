// cli: a line of progress on a terminal, for work that takes more than two seconds.
const QUIET_MS = 2000;

export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #startedMs = performance.now();
  #shown = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  /** Shows `line` in place of the last one. Shows nothing on a file or a pipe, nor in the first two seconds. */
  show(line: string): void {
    if (!this.#stream.isTTY || performance.now() - this.#startedMs < QUIET_MS) return;
    this.#stream.write(`\r\x1b[K${line.slice(0, this.#stream.columns - 1)}`);
    this.#shown = true;
  }

  clear(): void {
    if (this.#shown) this.#stream.write('\r\x1b[K');
    this.#shown = false;
  }
}
