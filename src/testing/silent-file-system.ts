// testing: a file system whose server answers only the requests for opening a file, as a hostile front end's may.
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, openSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable } from 'node:stream';

// Requests, by the numbers of linux/fuse.h. The server answers only the first three.
export const FUSE_LOOKUP = 1;
export const FUSE_OPEN = 14;
export const FUSE_INIT = 26;
/** Sent by close(2). */
export const FUSE_FLUSH = 25;

/** A mounted FUSE file system with one file, and its server in another process. Needs root. */
export class SilentFileSystem implements AsyncDisposable {
  readonly #folder: string;
  readonly #server: ChildProcessByStdio<null, Readable, null>;
  readonly #lines: Interface;
  /** The opcodes of the requests that the kernel sent so far. */
  readonly requests: number[] = [];

  /** Why it cannot be mounted here; undefined: it can. */
  static whyNot(): string | undefined {
    if (process.getuid?.() !== 0) return 'mounting needs root';
    return existsSync('/dev/fuse') ? undefined : 'there is no /dev/fuse';
  }

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'belfry-silent-'));
    const program = new URL('silent-file-server.ts', import.meta.url).pathname;
    const argv = ['--disable-warning=ExperimentalWarning', program, this.#folder];
    this.#server = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#server.stdout });
    this.#lines.on('line', (request) => this.requests.push(Number(request)));
  }

  static async mount(): Promise<SilentFileSystem> {
    const files = new SilentFileSystem();
    await files.requested(FUSE_INIT);
    return files;
  }

  /** Opens the file for reading and writing; the caller owns the descriptor. */
  open(): number {
    return openSync(join(this.#folder, 'file'), 'r+');
  }

  /** Waits until the kernel has sent a request with this opcode. */
  async requested(opcode: number): Promise<void> {
    const ended = once(this.#server, 'exit').then(() => assert.fail('the silent file system ended'));
    while (!this.requests.includes(opcode)) await Promise.race([once(this.#lines, 'line'), ended]);
    ended.catch(() => {});
  }

  /** Kills the server: every call that waits for it returns an error. */
  async end(): Promise<void> {
    if (this.#server.exitCode !== null || this.#server.signalCode !== null) return;
    this.#server.kill('SIGKILL');
    await once(this.#server, 'exit');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    spawnSync('umount', ['-l', this.#folder]);
    rmdirSync(this.#folder);
  }
}
