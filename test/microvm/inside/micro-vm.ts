// test/microvm/inside: `belfry run` as a person uses it: started from a command line, typed to, read from.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const BELFRY = join(import.meta.dirname, '../../../bin/belfry.ts');
const FOLDER = process.env.BELFRY_GUEST_FILES ?? '/boot';
const COMMAND_LINE = 'console=ttyS0 quiet mitigations=off panic=-1';
const OUTPUT_CHARS_SHOWN = 4000;
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
  readonly output: string;
  readonly said: string;
}

/** One running `belfry run` with the guest files of this test run. Disposing of it kills it. */
export class MicroVm implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown[]>;
  #output = '';
  #said = '';
  #read = 0;
  #onOutput: () => void = () => {};

  constructor({ words = [], append = '' }: MicroVmOptions = {}) {
    const files = ['--kernel', join(FOLDER, 'vmlinuz'), '--initrd', join(FOLDER, 'initrd')];
    const line = ['--append', `${COMMAND_LINE} ${append}`];
    const run = [BELFRY, 'run', ...files, ...line, '--verbose', ...words];
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...run], { stdio: 'pipe' });
    this.#exited = once(this.#child, 'close');
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#onOutput();
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    this.#exited.then(() => this.#onOutput());
  }

  /** What `belfry run` said of itself so far. */
  get said(): string {
    return this.#said;
  }

  /** Types a line at the guest's console. */
  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Waits until the console shows `pattern` after what was waited for before; fails when the guest ends first. */
  async shows(pattern: RegExp, timeoutMs = 120_000): Promise<RegExpExecArray> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(this.#output.slice(this.#read));
      if (match !== null) {
        this.#read += match.index + match[0].length;
        return match;
      }
      const isOver = this.#child.exitCode !== null || performance.now() > deadline;
      assert.ok(!isOver, `the console never showed ${pattern}:\n${this.#tail()}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onOutput = resolve;
      const timer = setTimeout(resolve, deadline - performance.now());
      await promise;
      clearTimeout(timer);
    }
  }

  /** Processor seconds of all its threads so far, the guest's included. */
  processorSeconds(): number {
    const text = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  }

  /** Waits until it has ended by itself. */
  async ended(timeoutMs = 240_000): Promise<Ended> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs);
    await this.#exited;
    clearTimeout(timer);
    return { code: this.#child.exitCode, output: this.#output, said: this.#tail() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  #tail(): string {
    return `${this.#output.slice(-OUTPUT_CHARS_SHOWN)}\n${this.#said.slice(-OUTPUT_CHARS_SHOWN)}`;
  }
}
