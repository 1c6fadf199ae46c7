// Runs a program under this Node in a process group of its own, bounded in time, and leaves nothing of it behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const OUTPUT_CHARS_MAX = 20_000;
const DRAIN_MS = 1000;
const running = new Set<ChildProcess>();

/** How it ended: an exit code, the name of a signal, or `undefined` when it was killed for being late. */
export interface Ended {
  readonly exit: number | NodeJS.Signals | undefined;
  /** The end of what it printed. */
  readonly output: string;
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

/** Starts `node ...args`; after `timeoutMs` it is killed. What it started dies with it. */
export async function runNode(args: readonly string[], timeoutMs: number, env = process.env): Promise<Ended> {
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env });
  running.add(child);
  let output = '';
  const keep = (chunk: string): void => {
    output = (output + chunk).slice(-OUTPUT_CHARS_MAX);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);

  const { promise, resolve } = Promise.withResolvers<Ended['exit']>();
  child.once('exit', (code, signal) => resolve(code ?? signal ?? undefined));
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    killGroup(child);
  }, timeoutMs);
  const closed = new Promise((done) => child.once('close', done));
  const exit = await promise;
  clearTimeout(timer);
  killGroup(child);
  // What left the group may hold the pipes open for ever.
  await Promise.race([closed, sleep(DRAIN_MS, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  running.delete(child);
  return { exit: isLate ? undefined : exit, output };
}
