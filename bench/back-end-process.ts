// bench: a back end that is started to be measured, kept on its own processor, and always ended.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const START_MS = 60_000;
const STOP_MS = 5_000;
const LOOK_MS = 10;
const OUTPUT_CHARS_MAX = 4096;

export interface BackEndCommand {
  /** Its name in the table. */
  readonly name: string;
  readonly command: readonly string[];
  /** The socket that it listens on. */
  readonly socket: string;
}

export class BackEndProcess implements AsyncDisposable {
  readonly name: string;
  readonly socket: string;
  readonly #child: ChildProcess;
  readonly #ended = new AbortController();
  #output = '';

  private constructor({ name, socket, command }: BackEndCommand, cpu: number) {
    this.name = name;
    this.socket = socket;
    // taskset executes the back end, so that this child is the process to measure and to end.
    this.#child = spawn('taskset', ['-c', String(cpu), ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (text: string): void => {
      this.#output = (this.#output + text).slice(-OUTPUT_CHARS_MAX);
    };
    this.#child.stdout?.setEncoding('utf8').on('data', keep);
    this.#child.stderr?.setEncoding('utf8').on('data', keep);
    this.#child.on('error', (error) => this.#ended.abort(new Error(`${name} does not start: ${error.message}`)));
    this.#child.on('close', (code, signal) => {
      const said = finalLine(this.#output) ?? 'it printed nothing';
      this.#ended.abort(new Error(`${name} ended (${signal ?? `exit ${code}`}): ${said}`));
    });
  }

  /** Starts it and waits until it listens. Throws Error with its last output line when it does not. */
  static async start(command: BackEndCommand, cpu: number, signal?: AbortSignal): Promise<BackEndProcess> {
    const backEnd = new BackEndProcess(command, cpu);
    try {
      await backEnd.#listening(signal);
      return backEnd;
    } catch (error) {
      await backEnd[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    const { pid } = this.#child;
    assert(pid !== undefined, 'it did not start');
    return pid;
  }

  /** Aborted when the process ends by itself; the reason says how. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  async #listening(signal?: AbortSignal): Promise<void> {
    for (const deadline = Date.now() + START_MS; Date.now() < deadline; await sleep(LOOK_MS)) {
      signal?.throwIfAborted();
      this.ended.throwIfAborted();
      if (isListening(this.socket)) return;
    }
    throw new Error(`${this.name} did not listen within ${START_MS / 1000} s`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.ended.aborted) return;
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    this.#child.kill('SIGTERM');
    if (!this.ended.aborted) await once(this.ended, 'abort');
    clearTimeout(killer);
  }
}

/** The last line; of a Node program that crashed the error, which is above the stack and the version. */
function finalLine(output: string): string | undefined {
  const lines = output.trim().split('\n');
  const last = lines.at(-1) || undefined;
  if (last === undefined || !last.startsWith('Node.js v')) return last;
  return lines.findLast((line) => /^\w*Error\b/.test(line)) ?? last;
}

/** Whether a process listens at `path`. Does not connect: a back end serves one front end at a time. unix(7). */
function isListening(path: string): boolean {
  const LISTENING = '00010000';
  if (!existsSync(path)) return false;
  const sockets = readFileSync('/proc/net/unix', 'utf8').split('\n');
  return sockets.some((line) => line.endsWith(` ${path}`) && line.split(/\s+/)[3] === LISTENING);
}
