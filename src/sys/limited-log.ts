// sys: a rate-limited log: a few lines a minute for one cause.

export interface LimitedLogOptions {
  /** Lines of one cause that are written before the limit applies. Default 5. */
  readonly burst?: number;
  /** A monotonic clock, in ms. Default `performance.now`. */
  readonly now?: () => number;
}

/** Causes that have a limit of their own. All others share one limit. */
export const CAUSES_MAX = 64;
export const LINE_CHARS_MAX = 2000;

const FIRST_INTERVAL_MS = 1000;
const LAST_INTERVAL_MS = 60_000;
/** A cause without a line for so long is reset: its burst starts again. */
const QUIET_MS = 60_000;

interface Cause<About> {
  /** Lines that may still be written before the limit applies. */
  burst: number;
  intervalMs: number;
  /** When the next line may be written after the burst. */
  nextMs: number;
  lastMs: number;
  suppressed: number;
  /** The last line that was suppressed, and what it is about. */
  line: string;
  about: About | undefined;
}

/**
 * Writes lines and counts those that repeat. Two lines have the same cause if they differ only in numbers, decimal or
 * hex. The first lines of a cause (`burst`) are all written, then one a second, with the number of suppressed lines.
 * This interval doubles up to a minute while lines keep coming. After a minute without a line the cause is reset.
 *
 * The number of suppressed lines is written with the next line of the cause, or by `flush`. There is no timer.
 * @example
 * const log = new LimitedLog((line) => process.stderr.write(`${line}\n`));
 * log.log('write of sector 17 failed: ENOSPC');
 */
export class LimitedLog<About = unknown> {
  readonly #write: (line: string, about?: About) => void;
  readonly #burst: number;
  readonly #now: () => number;
  /** Ordered by last line, the oldest first. */
  readonly #causes = new Map<string, Cause<About>>();
  readonly #others: Cause<About>;

  constructor(
    write: (line: string, about?: About) => void,
    { burst = 5, now = () => performance.now() }: LimitedLogOptions = {},
  ) {
    this.#write = write;
    this.#burst = burst;
    this.#now = now;
    this.#others = this.#newCause(now());
  }

  /**
   * Writes `line`, or suppresses and counts it. Control characters are escaped and a long line is cut (`printable`).
   */
  readonly log = (line: string, about?: About): void => {
    const text = printable(line);
    const nowMs = this.#now();
    const cause = this.#causeOf(text, nowMs);
    if (nowMs - cause.lastMs >= QUIET_MS) Object.assign(cause, { burst: this.#burst, intervalMs: FIRST_INTERVAL_MS });
    cause.lastMs = nowMs;
    if (cause.burst > 0) {
      cause.burst--;
      cause.nextMs = nowMs + FIRST_INTERVAL_MS;
    } else if (nowMs >= cause.nextMs) {
      cause.intervalMs = Math.min(2 * cause.intervalMs, LAST_INTERVAL_MS);
      cause.nextMs = nowMs + cause.intervalMs;
    } else {
      cause.suppressed++;
      cause.line = text;
      cause.about = about;
      return;
    }
    this.#writeWith(text, about, cause);
  };

  /** Writes, for each cause, the last suppressed line and how many more there were. */
  flush(): void {
    for (const cause of [...this.#causes.values(), this.#others]) this.#writeSuppressed(cause);
  }

  #writeSuppressed(cause: Cause<About>): void {
    if (cause.suppressed === 0) return;
    cause.suppressed--;
    this.#writeWith(cause.line, cause.about, cause);
  }

  #writeWith(text: string, about: About | undefined, cause: Cause<About>): void {
    const more = cause.suppressed;
    cause.suppressed = 0;
    const like = cause === this.#others ? 'other lines' : 'more like it';
    this.#write(more === 0 ? text : `${text} (and ${more.toLocaleString('en-US')} ${like})`, about);
  }

  #causeOf(text: string, nowMs: number): Cause<About> {
    const key = withoutNumbers(text);
    const known = this.#causes.get(key);
    if (known === undefined && !this.#hasRoom(nowMs)) return this.#others;
    const cause = known ?? this.#newCause(nowMs);
    this.#causes.delete(key);
    this.#causes.set(key, cause);
    return cause;
  }

  /** Returns whether there is room for another cause. Removes the oldest one if that had no line for QUIET_MS. */
  #hasRoom(nowMs: number): boolean {
    if (this.#causes.size < CAUSES_MAX) return true;
    const [key, oldest] = this.#causes.entries().next().value as [string, Cause<About>];
    if (nowMs - oldest.lastMs < QUIET_MS) return false;
    this.#writeSuppressed(oldest);
    return this.#causes.delete(key);
  }

  #newCause(nowMs: number): Cause<About> {
    const counts = { burst: this.#burst, intervalMs: FIRST_INTERVAL_MS, nextMs: nowMs, lastMs: nowMs };
    return { ...counts, suppressed: 0, line: '', about: undefined };
  }
}

function withoutNumbers(text: string): string {
  return text.replace(/[0-9a-f]+/gi, (run) => (/\d/.test(run) ? '#' : run));
}

/** C0, DEL and C1; the separators U+2028 and U+2029; what changes the direction of text. */
const CONTROLS = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Returns a text as one line of at most 2,000 characters without control characters, so that a file's name cannot forge
 * a line of the log: a line feed becomes `\n`, another control character `\x1b` or `\u{202e}`.
 */
export function printable(text: string): string {
  const escaped = beginning(text).replace(CONTROLS, (control) => {
    const code = control.codePointAt(0) as number;
    if (control === '\n') return '\\n';
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
  return escaped.length > LINE_CHARS_MAX ? `${escaped.slice(0, LINE_CHARS_MAX - 1)}…` : escaped;
}

/**
 * Returns the first LINE_CHARS_MAX + 1 characters, copied: a slice would keep the whole text in memory.
 */
function beginning(text: string): string {
  if (text.length <= LINE_CHARS_MAX) return text;
  return new TextDecoder().decode(new TextEncoder().encode(text.slice(0, LINE_CHARS_MAX + 1)));
}
