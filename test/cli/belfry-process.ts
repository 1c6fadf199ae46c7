// test/cli: runs the command as users do, bounded in time, and returns how it ended.
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { patience } from '../../src/testing/patience.ts';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** A command that runs the command: `setpriv …`, `sh -c …`. */
  readonly before?: readonly string[];
  /** How Belfry itself is called. Default: this Node on bin/belfry.ts. */
  readonly command?: readonly string[];
  /** What it reads on standard input; nothing when absent. */
  readonly input?: string;
  /** What it inherits as descriptors 3, 4, …. */
  readonly fds?: readonly number[];
}

export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** Waits until standard output holds something; gives the match. Fails when the command ends before. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** The same of standard error. */
  complains(pattern: RegExp): Promise<RegExpExecArray>;
  /** Calls `take` with what it writes to standard output from now on. */
  onOutput(take: (text: string) => void): void;
  kill(signal: NodeJS.Signals): void;
  /** Closes our end of its standard output. */
  stopReading(): void;
  readonly ended: Promise<Ended>;
}

const COMMAND = join(import.meta.dirname, '../../bin/belfry.ts');
const WORDS = [process.execPath, '--disable-warning=ExperimentalWarning', COMMAND];
/** Far more than anything takes on a quiet machine. */
const LIMIT_MS = 180_000;

/** Starts `belfry ...args`; disposing of it kills it. */
export function startBelfry(args: readonly string[], surroundings: Surroundings = {}): Running {
  const [file = '', ...words] = [...(surroundings.before ?? []), ...(surroundings.command ?? WORDS), ...args];
  const { input } = surroundings;
  const stdio: StdioOptions = [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...(surroundings.fds ?? [])];
  const env = { ...process.env, ...surroundings.env };
  const child = spawn(file, words, { stdio, env, ...(surroundings.cwd && { cwd: surroundings.cwd }) });
  child.stdin?.on('error', () => {}).end(input);
  const output = { stdout: collect(child, 'stdout'), stderr: collect(child, 'stderr') };
  const timer = setTimeout(() => child.kill('SIGKILL'), patience(LIMIT_MS));
  const ended = once(child, 'close').then(([code, signal]): Ended => {
    clearTimeout(timer);
    return { code, signal, stdout: output.stdout(), stderr: output.stderr() };
  });
  return {
    pid: child.pid as number,
    says: (pattern) => waitFor(child, 'stdout', pattern, output.stdout, ended),
    complains: (pattern) => waitFor(child, 'stderr', pattern, output.stderr, ended),
    onOutput: (take) => void child.stdout?.on('data', take),
    kill: (signal) => child.kill(signal),
    stopReading: () => child.stdout?.destroy(),
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Runs `belfry ...args` to its end. */
export function belfry(args: readonly string[], surroundings?: Surroundings): Promise<Ended> {
  return startBelfry(args, surroundings).ended;
}

function collect(child: ChildProcess, name: 'stdout' | 'stderr'): () => string {
  let text = '';
  child[name]?.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  return () => text;
}

async function waitFor(
  child: ChildProcess,
  stream: 'stdout' | 'stderr',
  pattern: RegExp,
  output: () => string,
  ended: Promise<Ended>,
): Promise<RegExpExecArray> {
  for (;;) {
    const match = pattern.exec(output());
    if (match !== null) return match;
    const more = once(child[stream] as NonNullable<ChildProcess['stdout']>, 'data').then(() => undefined);
    const end = await Promise.race([more, ended]);
    if (end !== undefined && pattern.exec(end[stream]) === null)
      throw new Error(`it ended (${end.code ?? end.signal}) without saying ${pattern}:\n${end.stdout}${end.stderr}`);
  }
}

/** A folder for one test, gone after it. */
export function testFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Processor seconds of a process so far, all its threads: a sign that it works. proc_pid_stat(5). */
export function processorSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The command lines of running processes that mention `text`. */
export function processesAbout(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => commandLine(pid))
    .filter((line) => line.includes(text));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // ended meanwhile
  }
}

/** Lines that say that something takes a second: on a busy machine everything does. */
const DELAYS = /^belfry: (requests in flight are waited for up to|.* has not answered \w+ for) .*\n/gm;

/** Standard error without the lines that a busy machine alone makes a command print. */
export function withoutDelays(stderr: string): string {
  return stderr.replaceAll(DELAYS, '');
}
