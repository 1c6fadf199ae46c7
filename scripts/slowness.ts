// How slow this machine is while the tests run: measured at the start and repeatedly, and passed to every test.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SLOWNESS_MAX, SLOWNESS_VARIABLE, slowness } from '../src/testing/patience.ts';

/** What scripts/slowness-probe.ts took, in milliseconds: to start, to compute on every processor, and to be woken. */
export interface Sample {
  readonly startMs: number;
  readonly computeMs: number;
  readonly wakeMs: number;
}

/** Of two quiet processors of 2020; wakeMs is ten times what it was there, so that it counts only if it is ms. */
const QUIET: Sample = { startMs: 250, computeMs: 120, wakeMs: 20 };
const EVERY_MS = 30_000;
const PROBE = join(import.meta.dirname, 'slowness-probe.ts');

/** How many times slower than a quiet machine: the worst of the three. */
export function slownessOf({ startMs, computeMs, wakeMs }: Sample): number {
  const worst = Math.max(startMs / QUIET.startMs, computeMs / QUIET.computeMs, wakeMs / QUIET.wakeMs);
  return Math.min(SLOWNESS_MAX, Math.max(1, Math.round(worst * 10) / 10));
}

async function probe(): Promise<Sample> {
  const beganMs = performance.timeOrigin + performance.now();
  const { stdout } = await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', PROBE]);
  const { startedMs, ...rest } = JSON.parse(stdout) as Omit<Sample, 'startMs'> & { startedMs: number };
  return { startMs: startedMs - beganMs, ...rest };
}

/** Measures, and sets the greatest slowness so far in the environment of processes started from now on. */
export async function measureSlowness(): Promise<number> {
  const now = slownessOf(await probe());
  process.env[SLOWNESS_VARIABLE] = String(Math.max(now, slowness()));
  return now;
}

/** Measures repeatedly, since load changes, until disposed of. */
export function keepMeasuring(): Disposable {
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;
  const again = (): void => {
    if (!isOver)
      timer = setTimeout(
        () =>
          measureSlowness()
            .catch(() => {})
            .then(again),
        EVERY_MS,
      );
  };
  again();
  return {
    [Symbol.dispose]() {
      isOver = true;
      clearTimeout(timer);
    },
  };
}
