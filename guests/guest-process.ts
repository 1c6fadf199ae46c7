// guests: one peer's process, killed with everything it started when it prints nothing for too long.
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { GuestCommand } from './guest-peer.ts';

export interface GroupOptions {
  readonly stdio: StdioOptions;
  /** Called at once, with the process and what `stdio` made. */
  readonly attach: (child: ChildProcess) => void;
  readonly signal?: AbortSignal;
}

export interface GuestProcessOptions {
  /** It is killed when it printed no line for this long. Absent: no limit. */
  readonly silenceMs?: number;
  /** Every line of its standard output and standard error, without the line end. */
  readonly onLine: (line: string) => void;
  readonly signal?: AbortSignal;
  /** Called with its process id, which is that of its group. */
  readonly onStart?: (pid: number) => void;
}

export type GuestExit = { readonly kind: 'exited'; readonly code: number | null } | { readonly kind: 'silent' };

/**
 * Runs `command` with nothing on standard input until it exits, is silent for `silenceMs` or `signal` aborts.
 * When it returns or throws, no process of its group is left; if this process is killed first, so is the group.
 * Throws the signal's reason when aborted, and an Error when the command cannot be started.
 */
export async function runGuestProcess(command: GuestCommand, options: GuestProcessOptions): Promise<GuestExit> {
  const { onLine, onStart, silenceMs, signal } = options;
  const silence = new AbortController();
  const timer = silenceMs === undefined ? undefined : setTimeout(() => silence.abort(), silenceMs);
  const take = (line: string): void => {
    timer?.refresh();
    onLine(line);
  };
  const attach = ({ pid, stdout, stderr }: ChildProcess): void => {
    if (pid !== undefined) onStart?.(pid);
    for (const input of [stdout, stderr]) if (input !== null) createInterface({ input }).on('line', take);
  };
  const either = AbortSignal.any(signal === undefined ? [silence.signal] : [signal, silence.signal]);
  try {
    const code = await runInGroup(command, { stdio: ['ignore', 'pipe', 'pipe'], attach, signal: either });
    return { kind: 'exited', code };
  } catch (error) {
    if (!silence.signal.aborted || signal?.aborted) throw error;
    return { kind: 'silent' };
  } finally {
    clearTimeout(timer);
  }
}

/** As `runGuestProcess`, with descriptors attached as `options` says. Returns the exit code, null when killed. */
export async function runInGroup(command: GuestCommand, options: GroupOptions): Promise<number | null> {
  const { stdio, attach, signal } = options;
  signal?.throwIfAborted();
  const child = spawn(command.file, command.words, {
    stdio,
    // A process group of its own, so that User-Mode Linux's many processes are killed together.
    detached: true,
    env: { ...process.env, ...command.environment },
  });
  const leash = child.pid === undefined ? undefined : leashOn(child.pid);
  const kill = (): void => killGroup(child.pid);
  signal?.addEventListener('abort', kill);
  try {
    attach(child);
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    signal?.throwIfAborted();
    return code;
  } finally {
    signal?.removeEventListener('abort', kill);
    kill();
    leash?.kill('SIGKILL');
  }
}

// A front end waits for ever for its back end, so a guest must not outlive this process, however it ends: the shell's
// read returns when the kernel closes this end of its pipe. Detached, so that a Ctrl-C on the terminal does not end it.
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
