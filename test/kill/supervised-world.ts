// test/kill: a supervised back end whose device processes are killed and upgraded while a driver verifies what it serves.
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchDisk } from '../../bench/bench-disk.ts';
import { countErrors } from '../../bench/load/load-spec.ts';
import { eventually } from '../../src/testing/patience.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { belfry } from '../cli/belfry-process.ts';
import { Supervised } from '../cli/supervised.ts';
import type { Driving } from '../vhost-user/driven-disk.ts';
import { PluggedMachine } from '../vhost-user/plugged-machine.ts';

const FILE_BYTES = 8 << 20;
/** A kill comes so long after every queue made progress, at most. */
const DELAY_MS_MAX = 25;

export interface SupervisedOptions {
  /** What is done one after the other. `warm-kill` waits until a process stands by. */
  readonly steps: readonly ('kill' | 'warm-kill' | 'upgrade')[];
  readonly seed: number;
  readonly queues: number;
  readonly depth: number;
  /** More arguments of `belfry serve blk`. */
  readonly serveArgs: readonly string[];
  /** Whether the image is on a file system of a disk, or in memory. */
  readonly onDisk: boolean;
}

export interface Step {
  readonly step: string;
  /** The longest time without a completed request while it was done, in ms. */
  readonly pauseMs: number;
}

export interface SupervisedResult {
  readonly steps: readonly Step[];
  readonly requests: number;
  /** What went wrong: wrong data, a request that was served twice or never. */
  readonly problem: string | undefined;
  /** What the supervisor logged. */
  readonly log: string;
}

/** Does the steps, and returns what the driver saw. */
export async function superviseUnderLoad(options: SupervisedOptions): Promise<SupervisedResult> {
  using file = new BenchDisk(FILE_BYTES);
  const folder = mkdtempSync(join(options.onDisk ? tmpdir() : file.folder, 'belfry-supervised-'));
  const image = options.onDisk ? join(folder, 'disk.img') : file.path;
  if (options.onDisk) copyFileSync(file.path, image);
  const flags = ['--queues', String(options.queues), ...options.serveArgs];
  const supervised = new Supervised(image, join(folder, 'disk.sock'), flags);
  try {
    await supervised.process.says(/"listening"/);
    return await underLoad(supervised, options);
  } finally {
    await supervised[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function underLoad(supervised: Supervised, options: SupervisedOptions): Promise<SupervisedResult> {
  const steps: Step[] = [];
  const random = new SeededRandom(options.seed);
  let requests = 0;
  let problem: string | undefined;
  {
    await using machine = await PluggedMachine.with(supervised.socket, 'wait', options);
    await machine.bringUp();
    const driving = machine.drive(options.seed);
    try {
      for (const step of options.steps) {
        if (step === 'warm-kill') await supervised.standsBy();
        await driving.progress();
        await sleep(random.below(DELAY_MS_MAX * 1000) / 1000);
        const back = backTimes(machine) + 1;
        const longest = longestPause(driving);
        if (step === 'upgrade') await upgrade(supervised.socket);
        else process.kill(supervised.devicePid, 'SIGKILL');
        await eventually('it is back', () => backTimes(machine) >= back);
        await driving.progress();
        steps.push({ step, pauseMs: await longest() });
        await eventually('the supervisor says so', () => supervised.count('restarted') >= steps.length);
      }
      const verified = await driving.stop();
      requests = verified.reduce((sum, one) => sum + one.requests, 0);
      const wrong = verified.filter(({ errors }) => countErrors(errors) > 0);
      if (wrong.length > 0) problem = JSON.stringify(wrong.map(({ errors }) => errors));
    } catch (error) {
      problem = [(error as Error).message, ...machine.lines].join('; ');
    }
  }
  supervised.process.kill('SIGTERM');
  const { code, stdout, stderr } = await supervised.process.ended;
  if (code !== 0) problem ??= `the supervisor ended with exit code ${code}`;
  return { steps, requests, problem, log: stdout + stderr };
}

async function upgrade(socket: string): Promise<void> {
  const { code, stderr } = await belfry(['upgrade', '--socket', socket]);
  if (code !== 0) throw new Error(stderr);
}

function backTimes(machine: PluggedMachine): number {
  return machine.lines.filter((line) => line.endsWith('is back')).length;
}

/** Measures from now on; the function that is returned ends it, and returns the longest time without a completion. */
function longestPause(driving: Driving): () => Promise<number> {
  let isOver = false;
  let longestMs = 0;
  const watching = (async () => {
    for (let total = driving.completed, sinceMs = performance.now(); !isOver; ) {
      // Time: how finely the pause is measured.
      await sleep(1);
      if (driving.completed === total) continue;
      longestMs = Math.max(longestMs, performance.now() - sinceMs);
      [total, sinceMs] = [driving.completed, performance.now()];
    }
  })();
  return async () => {
    isOver = true;
    await watching;
    return longestMs;
  };
}
