// cli: passt(1), which is a network for a guest without root: started for one card, and ended with it.
import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { removeStaleFolders } from './stale-folders.ts';

/** Started by root, passt becomes nobody. */
const NOBODY = 65534;
const FOLDER_PREFIX = 'belfry-passt-';
const LOOK_MS = 10;
/** It listens at once, or something is wrong. */
const START_MS_MAX = 10_000;
const OUTPUT_MAX = 64 * 1024;

/** A running passt. */
export class Passt {
  /** Its socket: a port `stream:PATH`. */
  readonly path: string;
  readonly #folder: string;
  /** Has a number when passt listens. */
  readonly #pidFile: string;
  readonly #child: ChildProcess;
  #said = '';
  #problem: string | undefined;
  #isStopped = false;
  /** Called when it ends by itself, with why: the card has no network any more. */
  onEnd: ((why: string) => void) | undefined;

  private constructor() {
    removeStaleFolders(tmpdir(), FOLDER_PREFIX);
    this.#folder = mkdtempSync(join(tmpdir(), FOLDER_PREFIX));
    if (process.getuid?.() === 0) chownSync(this.#folder, NOBODY, NOBODY);
    this.path = join(this.#folder, 'sock');
    this.#pidFile = join(this.#folder, 'pid');
    // It ends by itself when its client leaves, however that ends. Detached: Ctrl-C is for this process, which stops it.
    const words = ['--foreground', '--one-off', '--quiet', '--socket', this.path, '--pid', this.#pidFile];
    this.#child = spawn('passt', words, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-OUTPUT_MAX);
    });
    this.#child.on('error', ({ message }) => {
      this.#problem = message.includes('ENOENT')
        ? 'passt is not installed: "apt-get install passt", or take a tap'
        : message;
    });
    // Not 'exit': what it said last may come after that.
    this.#child.on('close', () => {
      const last = this.#said.trim().split('\n').at(-1);
      this.#problem ??= `passt ended: ${last === '' ? 'it says nothing' : last}`;
      if (!this.#isStopped) this.onEnd?.(this.#problem);
    });
    this.#child.unref();
  }

  /** Starts it, and waits until it listens. Rejects with a line that says what to do. */
  static async start(): Promise<Passt> {
    const passt = new Passt();
    const startedMs = performance.now();
    while (!passt.#listens && passt.#problem === undefined) {
      await sleep(LOOK_MS);
      if (performance.now() - startedMs > START_MS_MAX)
        passt.#problem ??= `passt does not listen after ${START_MS_MAX / 1000} s`;
    }
    if (passt.#problem === undefined) return passt;
    passt.stop();
    throw new Error(`user: ${passt.#problem}`);
  }

  get #listens(): boolean {
    return existsSync(this.#pidFile) && statSync(this.#pidFile).size > 0;
  }

  stop(): void {
    this.#isStopped = true;
    this.#child.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
