// guests: one peer's process, bounded in time and killed with everything it started.
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { GuestCommand } from './guest-peer.ts';

export interface GroupOptions {
  readonly stdio: StdioOptions;
  /** Called at once, with the process and what `stdio` made. */
  readonly attach: (child: ChildProcess) => void;
  /** No limit when absent. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface GuestProcessOptions {
  readonly timeoutMs: number;
  /** Every line of its standard output and standard error, without the line end. */
  readonly onLine: (line: string) => void;
  readonly signal?: AbortSignal;
  /** Told its process id, which is that of its group. */
  readonly onStart?: (pid: number) => void;
}

export type GuestExit = { readonly kind: 'exited'; readonly code: number | null } | { readonly kind: 'timed-out' };

/**
 * Runs `command` with nothing on standard input until it exits, `timeoutMs` passes or `signal` aborts.
 * When it returns or throws, no process of its group is left; if this process dies first, the group dies with it.
 * Throws the signal's reason when aborted, and an Error when the command cannot be started.
 */
export async function runGuestProcess(command: GuestCommand, options: GuestProcessOptions): Promise<GuestExit> {
  const { onLine, onStart, ...rest } = options;
  const attach = ({ pid, stdout, stderr }: ChildProcess): void => {
    if (pid !== undefined) onStart?.(pid);
    for (const input of [stdout, stderr]) if (input !== null) createInterface({ input }).on('line', onLine);
  };
  return await runInGroup(command, { ...rest, stdio: ['ignore', 'pipe', 'pipe'], attach });
}

/** As `runGuestProcess`, with whatever is attached to the descriptors of the process. */
export async function runInGroup(command: GuestCommand, options: GroupOptions): Promise<GuestExit> {
  const { stdio, attach, timeoutMs, signal } = options;
  signal?.throwIfAborted();
  const child = spawn(command.file, command.words, {
    stdio,
    // A process group of its own, so that User-Mode Linux's many processes die together.
    detached: true,
    env: { ...process.env, ...command.environment },
  });
  const leash = child.pid === undefined ? undefined : leashOn(child.pid);
  const kill = (): void => killGroup(child.pid);
  let timedOut = false;
  const onTimeout = (): void => {
    timedOut = true;
    kill();
  };
  const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timeoutMs);
  signal?.addEventListener('abort', kill);
  try {
    attach(child);
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    signal?.throwIfAborted();
    return timedOut ? { kind: 'timed-out' } : { kind: 'exited', code };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
    kill();
    leash?.kill('SIGKILL');
  }
}

// A front end waits for ever for its back end, so a guest must not outlive us, however we end: the shell's read
// returns when the kernel closes our end of its pipe. It is detached lest a Ctrl-C on the terminal end it first.
function leashOn(group: number): ChildProcess {
  const words = ['-c', 'read -r line; kill -s KILL -- "-$0"', `${group}`];
  return spawn('/bin/sh', words, { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing of the group is left.
  }
}
