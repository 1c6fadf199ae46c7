// Upper floor: how long a test waits for an event: limits that stretch with how slow this machine is.

/** The environment variable in which `npm test` says how many times slower than a quiet machine this one is. */
export const SLOWNESS_VARIABLE = 'BELFRY_SLOWNESS';
/** More than that is a broken clock or a broken variable, and a wait has to end. */
export const SLOWNESS_MAX = 64;

const LIMIT_MS = 20_000;
/** Looks at every turn of the loop, then every millisecond, then now and then. */
const LOOKS_WITHOUT_SLEEP = 200;
const SHORT_SLEEPS = 1000;
const LONG_SLEEP_MS = 10;
const SAMPLE_CPU_US = 30_000;
/** The most that counts as silence between two looks: a process that was stopped, or had no processor, has not listened. */
const BETWEEN_LOOKS_MS_MAX = 2000;

let measured = 1;

/** How many times slower than a quiet machine this one is: at least 1, and what `BELFRY_SLOWNESS` says if that is more. */
export function slowness(): number {
  const told = Number(process.env[SLOWNESS_VARIABLE] ?? 1);
  return Math.min(SLOWNESS_MAX, Math.max(1, measured, Number.isFinite(told) ? told : 1));
}

/** `limitMs`, ample on a quiet machine, stretched by `slowness()`. For limits only: a test waits for events, not for a time. */
export function patience(limitMs: number): number {
  return Math.round(limitMs * slowness());
}

/** How long nothing has been heard of something; only time in which this process looked counts. */
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

  /** Something was heard. */
  end(): void {
    this.#quietMs = 0;
    this.#lookedMs = performance.now();
  }
}

/**
 * Waits until `condition` holds, while everything else on this thread goes on. `what` names the event, for the error.
 * Throws an Error after `limitMs` (20 s), stretched by how slow the machine is at that moment.
 */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = LIMIT_MS,
): Promise<void> {
  const silence = new Silence();
  for (let looks = 1; !(await condition()); looks++) {
    if (silence.ms > patience(limitMs)) {
      // Others may have begun to work here after the run had started.
      measured = Math.max(measured, shareOfOthers());
      if (silence.ms > patience(limitMs)) throw new Error(`waited ${seconds(silence.ms)} in vain: ${what}`);
    }
    if (looks < LOOKS_WITHOUT_SLEEP) await new Promise((resolve) => setImmediate(resolve));
    else await new Promise((resolve) => setTimeout(resolve, looks < SHORT_SLEEPS ? 1 : LONG_SLEEP_MS));
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** How much longer some work takes than the processor time it needs: 1 on a quiet machine. Blocks for at least 30 ms. */
function shareOfOthers(): number {
  const beforeMs = performance.now();
  const before = process.threadCpuUsage();
  for (;;) {
    const { user, system } = process.threadCpuUsage(before);
    if (user + system >= SAMPLE_CPU_US) return (performance.now() - beforeMs) / ((user + system) / 1000);
  }
}
