// test/kill: a back end that is killed again and again while a driver verifies what it serves.
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ourCommand } from '../../bench/back-end-commands.ts';
import { type BackEndCommand, BackEndProcess } from '../../bench/back-end-process.ts';
import { BenchDisk } from '../../bench/bench-disk.ts';
import { countErrors } from '../../bench/load/load-spec.ts';
import { allowedProcessors } from '../../bench/processor-use.ts';
import { eventually } from '../../src/testing/patience.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { PluggedMachine } from '../vhost-user/plugged-machine.ts';
import type { Mistake } from './mistakes.ts';

const FILE_BYTES = 8 << 20;
/** A kill comes so long after every queue made progress, at most. */
const DELAY_MS_MAX = 25;

export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  readonly queues: number;
  readonly depth: number;
  /** More arguments of `belfry serve blk`: `['--engine', 'uring']`. */
  readonly serveArgs: readonly string[];
  /** Whether the image is on a file system of a disk, or in memory. */
  readonly onDisk: boolean;
  readonly mistake?: Mistake;
  /** As in `DrivenDiskOptions`. */
  readonly stallMs?: number;
  readonly signal?: AbortSignal;
  /** Called after each kill. */
  readonly onKill?: (kills: number) => void;
}

export interface KillResult {
  readonly kills: number;
  readonly requests: number;
  /** From each kill until a request was completed again, in ms. */
  readonly pausesMs: readonly number[];
  /** What went wrong: wrong data, a request that was served twice or never. */
  readonly problem: string | undefined;
}

/** The command, with a mistake put into the back end's code. */
function commandOf(folder: string, disk: string, options: KillOptions): BackEndCommand {
  const ours = ourCommand({ folder, disk, queues: options.queues }, false, options.serveArgs);
  if (options.mistake === undefined) return ours;
  const [node, ...others] = ours.command as [string, ...string[]];
  const preload = new URL('./preload-mistake.ts', import.meta.url).href;
  return { ...ours, command: ['env', `BELFRY_TEST_MISTAKE=${options.mistake}`, node, '--import', preload, ...others] };
}

/** Kills the back end `options.kills` times, and returns what the driver saw. */
export async function killAgainAndAgain(options: KillOptions): Promise<KillResult> {
  using file = new BenchDisk(FILE_BYTES);
  const folder = mkdtempSync(join(options.onDisk ? tmpdir() : file.folder, 'belfry-kill-'));
  const onDisk = join(folder, 'disk.img');
  if (options.onDisk) copyFileSync(file.path, onDisk);
  try {
    return await kill(commandOf(folder, options.onDisk ? onDisk : file.path, options), options);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function kill(command: BackEndCommand, options: KillOptions): Promise<KillResult> {
  const random = new SeededRandom(options.seed);
  const pausesMs: number[] = [];
  const start = (): Promise<BackEndProcess> => {
    rmSync(command.socket, { force: true });
    return BackEndProcess.start(command, allowedProcessors().at(-1) ?? 0, options.signal);
  };
  let backEnd = await start();
  const ended = { requests: 0, problem: undefined as string | undefined };
  try {
    await using machine = await PluggedMachine.with(command.socket, 'wait', options);
    await machine.bringUp();
    const driving = machine.drive(options.seed);
    try {
      for (let kills = 1; kills <= options.kills; kills++) {
        options.signal?.throwIfAborted();
        await driving.progress();
        await sleep(random.below(DELAY_MS_MAX * 1000) / 1000);
        const killedMs = performance.now();
        process.kill(backEnd.pid, 'SIGKILL');
        await backEnd[Symbol.asyncDispose]();
        backEnd = await start();
        await eventually('it is back', () => backTimes(machine) === kills);
        await driving.anyProgress();
        pausesMs.push(performance.now() - killedMs);
        options.onKill?.(kills);
      }
      await driving.progress();
      const verified = await driving.stop();
      ended.requests = verified.reduce((sum, { requests }) => sum + requests, 0);
      const wrong = verified.filter(({ errors }) => countErrors(errors) > 0);
      if (wrong.length > 0) ended.problem = JSON.stringify(wrong.map(({ errors }) => errors));
    } catch (error) {
      options.signal?.throwIfAborted();
      const broken = machine.lines.filter((line) => line.includes('stopped until'));
      ended.problem = [(error as Error).message, ...broken].join('; ');
    }
  } finally {
    process.kill(backEnd.pid, 'SIGKILL');
    await backEnd[Symbol.asyncDispose]();
  }
  return { kills: pausesMs.length, pausesMs, ...ended };
}

function backTimes(machine: PluggedMachine): number {
  return machine.lines.filter((line) => line.endsWith('is back')).length;
}
