// bench: how long a run of many rounds will still take.
const MINUTE_S = 60;

export class TimeLeft {
  readonly #now: () => number;
  readonly #startMs: number;
  #done = 0;
  #left: number;

  /** @param rounds how many there will be, of about the same duration. The first one starts now. */
  constructor(rounds: number, now = () => performance.now()) {
    this.#left = rounds;
    this.#now = now;
    this.#startMs = now();
  }

  /** A round was measured. */
  done(): void {
    this.#done++;
    this.#left = Math.max(0, this.#left - 1);
  }

  /** These rounds will not be measured. */
  skip(rounds: number): void {
    this.#left = Math.max(0, this.#left - rounds);
  }

  /** `12 min left`, `40 s left`; empty before the first round was measured. */
  toString(): string {
    if (this.#done === 0) return '';
    const seconds = Math.ceil((((this.#now() - this.#startMs) / this.#done) * this.#left) / 1000);
    if (seconds < 2 * MINUTE_S) return `${seconds} s left`;
    return `${Math.ceil(seconds / MINUTE_S)} min left`;
  }
}
