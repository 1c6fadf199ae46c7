// daemon: a supervisor's handle of one device process: starts it, tells it what to do, sees how it ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { CODES, RpcError } from './control/json-rpc.ts';
import { type FromDeviceProcess, type PassedSignal, SUPERVISOR_VARIABLE, type ToDeviceProcess } from './supervision.ts';

export interface DeviceProcessOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** The listening socket, which the process inherits. */
  readonly listenFd: number;
  /** Takes each line that it writes to standard error. */
  readonly onErrorLine: (line: string) => void;
  readonly onStatus: (line: string) => void;
  readonly onEvent: (event: unknown) => void;
}

type Answer = Extract<FromDeviceProcess, { type: 'answer' }>;

/** A process that has loaded everything. */
export interface Warm {
  readonly version: string;
  /** Requests that it has served of a front end of its own. */
  readonly rehearsed: number;
}

/** How a process ended. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How long the last lines of a process that has ended are waited for: a process that it started may keep the pipe. */
const LAST_WORDS_MS = 500;
/** Signals that other processes end one with: its last line then says nothing about the reason. */
const FROM_OUTSIDE: readonly (string | null)[] = ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'];
/** A longer last line is cut. */
const LINE_CHARS_MAX = 500;
/** How long a request of the control socket waits for its answer. */
const ANSWER_MS = 10_000;

export class DeviceProcess {
  /** Resolves when it has loaded everything. Rejects when it ends before. */
  readonly warm: Promise<Warm>;
  /** Resolves to its description of the device when it serves. Rejects when it ends before. */
  readonly ready: Promise<unknown>;
  readonly exited: Promise<ProcessExit>;
  /** Resolves when it has closed the device, after `passOn`. */
  readonly released: Promise<void>;
  /** When it began to serve, as `performance.now()`; undefined before. */
  readyMs: number | undefined;
  /** When it was told to end, for another process to go on. */
  passedOnMs: number | undefined;
  #passingOn = Promise.withResolvers<void>();
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #exit: ProcessExit | undefined;
  #lastLine = '';
  readonly #calls = new Map<number, (answer: Answer) => void>();
  #lastCall = 0;

  constructor({ command: [file = '', ...args], listenFd, onErrorLine, onStatus, onEvent }: DeviceProcessOptions) {
    const env: NodeJS.ProcessEnv = { ...process.env, [SUPERVISOR_VARIABLE]: String(process.pid) };
    // The service manager listens to its main process alone.
    delete env.NOTIFY_SOCKET;
    // A session of its own: a Ctrl-C on the terminal is the supervisor's.
    this.#child = spawn(file, args, { stdio: ['ignore', 'inherit', 'pipe', listenFd, 'ipc'], detached: true, env });
    const warm = Promise.withResolvers<Warm>();
    const ready = Promise.withResolvers<unknown>();
    const released = Promise.withResolvers<void>();
    [this.warm, this.ready, this.released] = [warm.promise, ready.promise, released.promise];
    this.#child.on('message', (message: FromDeviceProcess) => {
      if (message.type === 'warm') warm.resolve({ version: message.version, rehearsed: message.rehearsed ?? 0 });
      else if (message.type === 'released') released.resolve();
      else if (message.type === 'refused') this.#refused(message.line);
      else if (message.type === 'status') onStatus(message.line);
      else if (message.type === 'event') onEvent(message.event);
      else if (message.type === 'answer') this.#calls.get(message.id)?.(message);
      else if (message.type === 'ready') {
        this.readyMs = performance.now();
        ready.resolve(message.served);
      }
    });
    this.#closed = this.#readErrors(onErrorLine);
    this.exited = this.#whenExited();
    for (const promise of [warm, ready]) {
      promise.promise.catch(() => {});
      void this.exited.then(async () => promise.reject(new Error(await this.reason())));
    }
  }

  /** Standard error, line by line. Resolves at its end. */
  async #readErrors(onErrorLine: (line: string) => void): Promise<void> {
    const { stderr } = this.#child;
    if (stderr === null) return;
    let text = '';
    const take = (lines: readonly string[]): void => {
      for (const line of lines) onErrorLine(line);
      this.#lastLine = lines.findLast((line) => line.trim() !== '') ?? this.#lastLine;
    };
    stderr.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n');
      text = lines.pop() ?? '';
      take(lines);
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    stderr.once('close', resolve);
    await promise;
    if (text !== '') take([text]);
  }

  #whenExited(): Promise<ProcessExit> {
    const { promise, resolve } = Promise.withResolvers<ProcessExit>();
    this.#child.once('exit', (code, signal) => resolve({ code, signal }));
    this.#child.on('error', (error) => {
      // Of `spawn`; a message that could not be sent is an error too, and the process has ended then.
      if (this.#child.pid !== undefined) return;
      this.#lastLine = error.message;
      resolve({ code: 1, signal: null });
    });
    return promise.then((exit) => {
      this.#exit = exit;
      return exit;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isAlive(): boolean {
    return this.#exit === undefined;
  }

  /** Resolves when it has ended, to how, for a log line: `killed by SIGKILL`, `exit code 1: no luck`. */
  async reason(): Promise<string> {
    const { code, signal } = await this.exited;
    await Promise.race([this.#closed, sleep(LAST_WORDS_MS)]);
    const how = signal === null ? `exit code ${code}` : `killed by ${signal}`;
    const last = FROM_OUTSIDE.includes(signal) ? '' : plainLine(this.#lastLine);
    return last === '' ? how : `${how}: ${last}`;
  }

  #send(message: ToDeviceProcess): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Its turn: opens the device and serves. May be called before it is warm. */
  serve(): void {
    this.#send({ type: 'serve' });
  }

  /** Ends it in order. */
  stop(): void {
    this.#send({ type: 'stop' });
  }

  /**
   * Ends it in order, for another process of this machine to go on. Resolves when it has closed the device, or has ended;
   * rejects with why it does not, and serves on.
   */
  passOn(): Promise<void> {
    this.passedOnMs = performance.now();
    this.#passingOn = Promise.withResolvers();
    this.#send({ type: 'pass-on' });
    return Promise.race([this.#passingOn.promise, this.released, this.exited.then(() => {})]);
  }

  /** Has it do what a request of the control socket says. Rejects with the error of its answer. */
  async call(method: string, params: unknown): Promise<unknown> {
    const id = ++this.#lastCall;
    const answer = Promise.withResolvers<Answer | undefined>();
    this.#calls.set(id, answer.resolve);
    const late = setTimeout(() => answer.resolve(undefined), ANSWER_MS);
    void this.exited.then(() => answer.resolve(undefined));
    this.#send({ type: 'call', id, method, params });
    const answered = await answer.promise;
    clearTimeout(late);
    this.#calls.delete(id);
    if (answered === undefined) throw new RpcError(CODES.failed, `the device process ${this.pid} does not answer`);
    const { problem, result } = answered;
    if (problem !== undefined) throw new RpcError(problem.code, problem.message);
    return result;
  }

  #refused(line: string): void {
    this.passedOnMs = undefined;
    this.#passingOn.reject(new Error(line));
  }

  /** Ends it without waiting for requests in flight. */
  giveUp(): void {
    this.#send({ type: 'give-up' });
  }

  signal(signal: PassedSignal): void {
    this.#send({ type: 'signal', signal });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Returns the text of a line of standard error, whether it is JSON or for people. */
function plainLine(line: string): string {
  try {
    const { line: text } = JSON.parse(line) as { readonly line?: unknown };
    if (typeof text === 'string') return text.slice(0, LINE_CHARS_MAX);
  } catch {
    // It is not JSON.
  }
  return line.replace(/^belfry: /, '').slice(0, LINE_CHARS_MAX);
}
