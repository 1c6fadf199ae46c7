// test/microvm: what a program printed so far, and waiting for what it is to print next.
import assert from 'node:assert/strict';
import type { Readable } from 'node:stream';

const SHOWN_CHARS = 4000;

export class Transcript {
  #text = '';
  #read = 0;
  #ended = false;
  #onMore: () => void = () => {};

  constructor(stream: Readable) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
      this.#onMore();
    });
    stream.once('close', () => {
      this.#ended = true;
      this.#onMore();
    });
  }

  get text(): string {
    return this.#text;
  }

  /** The last of it, for somebody who wants to know what went wrong. */
  get tail(): string {
    return this.#text.slice(-SHOWN_CHARS);
  }

  /** The newest line comes first: what shows a failure may cut its end. */
  #never(pattern: RegExp, why: string): string {
    const last = this.#text.trimEnd().split('\n').at(-1);
    return `it never showed ${pattern}: ${why} after ${JSON.stringify(last)}\n${this.tail}`;
  }

  /** Waits for `pattern` after what was waited for before. Fails with the tail when the program ends first. */
  async shows(pattern: RegExp, limitMs: number): Promise<RegExpExecArray> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const match = pattern.exec(this.#text.slice(this.#read));
      if (match !== null) {
        this.#read += match.index + match[0].length;
        return match;
      }
      const isLate = performance.now() >= deadline;
      assert.ok(!this.#ended && !isLate, this.#never(pattern, this.#ended ? 'it ended' : `${limitMs} ms passed`));
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onMore = resolve;
      const timer = setTimeout(resolve, deadline - performance.now());
      await promise;
      clearTimeout(timer);
    }
  }
}
