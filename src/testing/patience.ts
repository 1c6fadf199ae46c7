// testing: how long a test waits for an event: limits that grow with the slowness of this machine.

/** The environment variable with which `npm test` passes how many times slower than a quiet machine this one is. */
export const SLOWNESS_VARIABLE = 'BELFRY_SLOWNESS';
/** The largest slowness: more is a wrong clock or variable, and a wait has to end. */
export const SLOWNESS_MAX = 64;

const LIMIT_MS = 20_000;
/** `eventually` checks at every turn of the loop, then every millisecond, then every LONG_SLEEP_MS. */
const LOOKS_WITHOUT_SLEEP = 200;
const SHORT_SLEEPS = 1000;
const LONG_SLEEP_MS = 10;
const SAMPLE_CPU_US = 30_000;
/**
 * The most that counts between two checks: a process that was stopped, or got no processor, could not see the event.
 */
const BETWEEN_LOOKS_MS_MAX = 2000;

let measured = 1;

/** How many times slower than a quiet machine this one is: 1 to 64, at least the value of `BELFRY_SLOWNESS`. */
export function slowness(): number {
  const given = Number(process.env[SLOWNESS_VARIABLE] ?? 1);
  return Math.min(SLOWNESS_MAX, Math.max(1, measured, Number.isFinite(given) ? given : 1));
}

/**
 * `limitMs`, ample on a quiet machine, times `slowness()`. For limits only: a test waits for events, not for a time.
 */
export function patience(limitMs: number): number {
  return Math.round(limitMs * slowness());
}

/** How long an event has not come. Time in which this process did not check counts only up to a limit. */
export class Silence {
  #quietMs = 0;
  #lookedMs = performance.now();

  /** In milliseconds. */
  get ms(): number {
    const nowMs = performance.now();
    this.#quietMs += Math.min(BETWEEN_LOOKS_MS_MAX, nowMs - this.#lookedMs);
    this.#lookedMs = nowMs;
    return this.#quietMs;
  }

  /** The event came: starts again from 0. */
  end(): void {
    this.#quietMs = 0;
    this.#lookedMs = performance.now();
  }
}

/**
 * Waits until `condition` holds, while everything else on this thread goes on. `what` names the event, for the error.
 * Rejects with an Error after `limitMs` (default: 20 s), times the slowness of the machine at that moment.
 */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = LIMIT_MS,
): Promise<void> {
  const silence = new Silence();
  for (let looks = 1; !(await condition()); looks++) {
    if (silence.ms > patience(limitMs)) {
      // Other processes may have started after `BELFRY_SLOWNESS` was measured.
      measured = Math.max(measured, shareOfOthers());
      if (silence.ms > patience(limitMs)) throw new Error(`waited ${seconds(silence.ms)} in vain: ${what}`);
    }
    if (looks < LOOKS_WITHOUT_SLEEP) await new Promise((resolve) => setImmediate(resolve));
    else await new Promise((resolve) => setTimeout(resolve, looks < SHORT_SLEEPS ? 1 : LONG_SLEEP_MS));
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** Wall-clock time divided by processor time of a busy loop: 1 on a quiet machine. Blocks for at least 30 ms. */
function shareOfOthers(): number {
  const beforeMs = performance.now();
  const before = process.threadCpuUsage();
  for (;;) {
    const { user, system } = process.threadCpuUsage(before);
    if (user + system >= SAMPLE_CPU_US) return (performance.now() - beforeMs) / ((user + system) / 1000);
  }
}
