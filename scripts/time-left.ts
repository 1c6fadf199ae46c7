// Estimates the time left of a test run, by what its parts took the last time and by how fast it has been so far.
import type { Durations } from './durations.ts';

/** A stage for the estimate: its test files, or its own name where it is one command, and how many run at once. */
export interface Plan {
  readonly parts: readonly string[];
  readonly lanes: number;
  /** What the stage takes on two quiet processors, for parts that never ran here. */
  readonly seconds: number;
}

/** Weight of the usual speed against the measured one: the first few parts do not show how fast the rest is. */
const PRIOR_SECONDS = 30;

export class TimeLeft {
  readonly #plans: readonly Plan[];
  readonly #usual = new Map<string, number>();
  readonly #begun = new Map<string, number>();
  readonly #ended = new Set<string>();
  #spentSeconds = 0;
  #usualSpentSeconds = 0;

  constructor(plans: readonly Plan[], durations: Durations) {
    this.#plans = plans;
    for (const { parts, lanes, seconds } of plans)
      for (const part of parts) this.#usual.set(part, durations.of(part) ?? (seconds * lanes) / parts.length);
  }

  begin(part: string): void {
    this.#begun.set(part, performance.now());
  }

  /** Ends `part`; returns how many seconds it took. */
  end(part: string): number {
    const seconds = secondsSince(this.#begun.get(part));
    this.#ended.add(part);
    this.#spentSeconds += seconds;
    this.#usualSpentSeconds += this.#usual.get(part) ?? 0;
    return seconds;
  }

  /** Seconds until the last part ends. */
  get seconds(): number {
    const pace = (this.#spentSeconds + PRIOR_SECONDS) / (this.#usualSpentSeconds + PRIOR_SECONDS);
    return this.#plans.reduce((sum, plan) => sum + this.#secondsOf(plan, pace), 0);
  }

  #secondsOf({ parts, lanes }: Plan, pace: number): number {
    const left = parts.map((part) => this.#leftOf(part, pace));
    return Math.max(0, ...left, left.reduce((sum, seconds) => sum + seconds, 0) / lanes);
  }

  #leftOf(part: string, pace: number): number {
    if (this.#ended.has(part)) return 0;
    return Math.max(0, (this.#usual.get(part) ?? 0) * pace - secondsSince(this.#begun.get(part)));
  }
}

function secondsSince(beganMs: number | undefined): number {
  return beganMs === undefined ? 0 : (performance.now() - beganMs) / 1000;
}
