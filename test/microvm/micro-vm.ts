// test/microvm: `belfry run` as a user runs it: started from a command line, with typed input and output that is read.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { patience } from '../../src/testing/patience.ts';
import { Transcript } from './transcript.ts';

const BELFRY = join(import.meta.dirname, '../../bin/belfry.ts');
const FOLDER = process.env.BELFRY_GUEST_FILES ?? '/boot';
const COMMAND_LINE = 'console=ttyS0 quiet mitigations=off panic=-1';
/** For one thing to happen; a guest boots in a second, an emulated one in ten. */
const LIMIT_MS = 60_000;
/** Of its log, shown when the guest does not print what it should. */
const LOGGED_LINES = 8;
/** Of a second, in /proc: USER_HZ. */
const TICKS = 100;

export interface MicroVmOptions {
  /** More words of `belfry run`. */
  readonly words?: readonly string[];
  /** More of the kernel's command line. */
  readonly append?: string;
}

export interface Ended {
  readonly code: number | null;
  /** The end of what guest and `belfry run` printed, for a failure. */
  readonly everything: string;
}

/** One running `belfry run` with the guest files of this test run. Disposing of it kills it. */
export class MicroVm implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #closed: Promise<unknown[]>;
  /** The guest's serial port. */
  readonly console: Transcript;
  /** The log lines of `belfry run`. */
  readonly words: Transcript;

  constructor({ words = [], append = '' }: MicroVmOptions = {}) {
    const files = ['--kernel', join(FOLDER, 'vmlinuz'), '--initrd', join(FOLDER, 'initrd')];
    const line = ['--append', `${COMMAND_LINE} ${append}`];
    const run = [BELFRY, 'run', ...files, ...line, '--verbose', ...words];
    const stdio = ['pipe', 'pipe', 'pipe'] as ['pipe', 'pipe', 'pipe'];
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...run], { stdio });
    this.#closed = once(this.#child, 'close');
    this.console = new Transcript(this.#child.stdout);
    this.words = new Transcript(this.#child.stderr);
  }

  /** Types a line at the guest's console. */
  type(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Waits until the console shows `pattern`. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    try {
      return await this.console.shows(pattern, patience(LIMIT_MS));
    } catch (error) {
      const logged = this.words.tail.trimEnd().split('\n').slice(-LOGGED_LINES).join('\n');
      throw new Error(`${logged}\n${(error as Error).message}`, { cause: error });
    }
  }

  /** Waits until `belfry run` logs a line that matches `pattern`. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return this.words.shows(pattern, patience(LIMIT_MS));
  }

  /** Processor seconds of all its threads so far, the guest's included. */
  processorSeconds(): number {
    const text = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  }

  /** Waits until it has ended by itself. */
  async ended(): Promise<Ended> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), patience(LIMIT_MS));
    await this.#closed;
    clearTimeout(timer);
    const everything = `${this.console.tail}\n${this.words.tail}`;
    return { code: this.#child.exitCode, everything };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.#closed;
  }
}
