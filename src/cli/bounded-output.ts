// cli: writes lines to a pipe or terminal that may not be read: the buffer is bounded, dropped lines counted.
import type { Writable } from 'node:stream';

/** Bytes that are buffered for the reader. */
const WAITING_BYTES_MAX = 1 << 20;

export class BoundedOutput {
  readonly #stream: Writable;
  #leftOut = 0;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  line(text: string): void {
    if (this.#stream.writableLength > WAITING_BYTES_MAX) {
      this.#leftOut++;
      return;
    }
    if (this.#leftOut > 0) this.#stream.write(`(${this.#leftOut} lines were left out: nobody read)\n`);
    this.#leftOut = 0;
    this.#stream.write(`${text}\n`);
  }
}
