// guests: extracts the output and the exit code of a shell session from the guest's console.
import { Transform, type TransformCallback } from 'node:stream';

const NEWLINE = 0x0a;
/** Kernel messages kept from before the session: enough to show why there is none. */
const BOOT_BYTES_MAX = 16 * 1024;
/** `exit 255` and a line end are shorter. */
const EXIT_BYTES_MAX = 64;
const NONE = -1;

/**
 * A stream from the console to a terminal. It lets nothing pass before the line `MARK begin` and after the line
 * `MARK exit CODE`, and everything in between as it is.
 */
export class MarkedConsole extends Transform {
  /** Fulfilled when the session begins. */
  readonly begun: Promise<void>;
  readonly #begin: () => void;
  readonly #mark: Uint8Array;
  readonly #beginLine: Uint8Array;
  #state: 'booting' | 'session' | 'over' = 'booting';
  #pending = new Uint8Array(0);
  #boot = new Uint8Array(0);
  #code: number | undefined;

  constructor(mark: string) {
    super();
    const encoder = new TextEncoder();
    this.#mark = encoder.encode(`${mark} exit `);
    this.#beginLine = encoder.encode(`${mark} begin`);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.begun = promise;
    this.#begin = resolve;
  }

  get hasBegun(): boolean {
    return this.#state !== 'booting';
  }

  /** The exit code that the guest reported; undefined when the session ended otherwise. */
  get exitCode(): number | undefined {
    return this.#code;
  }

  /** The last lines before the session. */
  bootLines(count: number): string[] {
    const lines = new TextDecoder().decode(this.#boot).split('\n');
    return lines
      .map((line) => line.trimEnd())
      .filter((line) => line !== '')
      .slice(-count);
  }

  override _transform(chunk: Uint8Array, _encoding: unknown, done: TransformCallback): void {
    this.#pending = joined(this.#pending, chunk);
    if (this.#state === 'booting') this.#lookForBegin();
    if (this.#state === 'session') this.#pass();
    done();
  }

  override _flush(done: TransformCallback): void {
    if (this.#state === 'session') this.push(this.#pending);
    if (this.#state === 'booting') this.#keepBoot(this.#pending);
    done();
  }

  #lookForBegin(): void {
    const at = indexOf(this.#pending, this.#beginLine);
    const lineEnd = at === NONE ? NONE : this.#pending.indexOf(NEWLINE, at);
    if (lineEnd === NONE) {
      const keep = at === NONE ? endThatMayBegin(this.#pending, this.#beginLine) : this.#pending.length - at;
      this.#keepBoot(this.#pending.subarray(0, this.#pending.length - keep));
      this.#pending = this.#pending.slice(this.#pending.length - keep);
      return;
    }
    this.#keepBoot(this.#pending.subarray(0, at));
    this.#pending = this.#pending.slice(lineEnd + 1);
    this.#state = 'session';
    this.#begin();
  }

  #pass(): void {
    const at = indexOf(this.#pending, this.#mark);
    const keep = at === NONE ? endThatMayBegin(this.#pending, this.#mark) : this.#pending.length - at;
    if (this.#pending.length > keep) this.push(this.#pending.slice(0, this.#pending.length - keep));
    this.#pending = this.#pending.slice(this.#pending.length - keep);
    if (at === NONE) return;
    const rest = this.#pending.subarray(this.#mark.length);
    const lineEnd = rest.indexOf(NEWLINE);
    if (lineEnd === NONE && rest.length < EXIT_BYTES_MAX) return;
    this.#code = Number.parseInt(new TextDecoder().decode(rest), 10) || 0;
    this.#state = 'over';
    this.#pending = new Uint8Array(0);
  }

  #keepBoot(bytes: Uint8Array): void {
    this.#boot = joined(this.#boot, bytes).slice(-BOOT_BYTES_MAX);
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

function indexOf(bytes: Uint8Array, wanted: Uint8Array): number {
  const [first = 0] = wanted;
  for (let at = bytes.indexOf(first); at !== NONE; at = bytes.indexOf(first, at + 1))
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return at;
  return NONE;
}

/** How many bytes at the end of `bytes` are a beginning of `wanted`. */
function endThatMayBegin(bytes: Uint8Array, wanted: Uint8Array): number {
  for (let count = Math.min(bytes.length, wanted.length - 1); count > 0; count--)
    if (bytes.subarray(bytes.length - count).every((byte, i) => byte === wanted[i])) return count;
  return 0;
}
