// Runs a program under this Node in a process group of its own, bounded in time, and kills what is left of it.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { patience, Silence } from '../src/testing/patience.ts';

const OUTPUT_CHARS_MAX = 20_000;
const DRAIN_MS = 1000;
const LOOK_MS = 200;
const running = new Set<ChildProcess>();

/** How it ended: an exit code, the name of a signal, or `undefined` when it was killed for being late. */
export interface Ended {
  readonly exit: number | NodeJS.Signals | undefined;
  /** The end of what it printed. */
  readonly output: string;
}

export interface Bounds {
  /** It is killed after this long without progress, stretched by the slowness of the machine. */
  readonly silenceMs: number;
  readonly env?: NodeJS.ProcessEnv;
  /** Called several times a second, and once at the end: whether there was progress since the last call. */
  readonly isAlive?: () => boolean;
  /** Called with every line that it prints. */
  readonly onLine?: (line: string) => void;
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing of the group is left.
  }
}

/** Kills what is still running, with everything it started. */
export function killRunning(): void {
  for (const child of running) killGroup(child);
}

/** Runs `node ...args` to its end, then kills what it started. */
export async function runNode(args: readonly string[], bounds: Bounds): Promise<Ended> {
  const { silenceMs, env = process.env, isAlive = () => false, onLine = () => {} } = bounds;
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env });
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output = (output + chunk).slice(-OUTPUT_CHARS_MAX);
    });
    createInterface({ input: stream }).on('line', onLine);
  }

  const { promise, resolve } = Promise.withResolvers<Ended['exit']>();
  child.once('exit', (code, signal) => resolve(code ?? signal ?? undefined));
  let isLate = false;
  const silence = new Silence();
  const watch = setInterval(() => {
    if (isAlive()) silence.end();
    if (silence.ms <= patience(silenceMs)) return;
    isLate = true;
    killGroup(child);
  }, LOOK_MS);
  const closed = new Promise((done) => child.once('close', done));
  const exit = await promise;
  clearInterval(watch);
  killGroup(child);
  // A process that left the group may hold the pipes open for ever.
  await Promise.race([closed, sleep(patience(DRAIN_MS), undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  running.delete(child);
  isAlive();
  return { exit: isLate ? undefined : exit, output };
}
