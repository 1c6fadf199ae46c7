// test/power-cut: a shell that runs one program of this machine after another: it starts them faster than Node.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { PeerMissingError } from '../../guests/guest-peer.ts';
import { findExecutable } from '../../guests/guest-programs.ts';
import { quoted } from '../../guests/shell-script.ts';

export interface Ended {
  readonly code: number;
  /** The first lines of its output that say something. */
  readonly output: string;
}

/** Begins the line after the output of a program; its exit code follows. */
const MARK = 'belfry-power-cut-ended';
/** What a checker prints whatever it finds. */
const NOISE = /^(?:Pass \d|Phase \d|e2fsck \d|debugfs \d|\s*-|\s*$)|WARNING: Filesystem still has errors/;
const LINES_MAX = 4;
const ENDED = 'the shell that runs the checks has ended';

/** One program at a time. Disposing of it ends it. */
export class HostShell implements Disposable {
  readonly #shell: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #paths = new Map<string, string>();
  #hasEnded = false;

  /** `signal` ends it, and the program that it runs. */
  constructor(signal?: AbortSignal) {
    // A process group of its own, so that a Ctrl-C does not end it before this process, and so that all of it can be killed.
    this.#shell = spawn('/bin/sh', [], { env: { ...process.env, LC_ALL: 'C' }, detached: true });
    this.#shell.on('error', () => {});
    this.#shell.stdin.on('error', () => {});
    this.#lines = createInterface({ input: this.#shell.stdout });
    this.#lines.once('close', () => {
      this.#hasEnded = true;
    });
    signal?.addEventListener('abort', () => this.#kill(), { once: true });
  }

  /** Runs `name` to its end. Throws `PeerMissingError` where it is not installed, and an Error when the shell has ended. */
  async run(name: string, ...words: readonly string[]): Promise<Ended> {
    const path = this.#paths.get(name) ?? (await findExecutable(name));
    if (path === undefined) throw new PeerMissingError(`${name} is not installed`);
    this.#paths.set(name, path);
    if (this.#hasEnded) throw new Error(ENDED);
    const command = [path, ...words].map(quoted).join(' ');
    this.#shell.stdin.write(`${command} </dev/null 2>&1; code=$?; echo; echo ${MARK} $code\n`);
    return await this.#ended();
  }

  [Symbol.dispose](): void {
    this.#lines.close();
    this.#kill();
  }

  #kill(): void {
    if (this.#shell.pid === undefined || this.#shell.exitCode !== null || this.#shell.signalCode !== null) return;
    try {
      process.kill(-this.#shell.pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }

  #ended(): Promise<Ended> {
    const output: string[] = [];
    return new Promise((resolve, reject) => {
      const take = (line: string): void => {
        if (!line.startsWith(MARK)) {
          output.push(line);
          return;
        }
        this.#lines.off('line', take).off('close', fail);
        const said = output.filter((text) => !NOISE.test(text)).slice(0, LINES_MAX);
        resolve({ code: Number(line.slice(MARK.length)), output: said.join(' / ') });
      };
      const fail = (): void => reject(new Error(ENDED));
      this.#lines.on('line', take).on('close', fail);
    });
  }
}
