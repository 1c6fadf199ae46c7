// bench/doorbell: the exit loop in C, compiled in a temporary folder, to compare the one in TypeScript with.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Payload } from '../../src/testing/payload.ts';

const run = promisify(execFile);
const SOURCE = join(import.meta.dirname, 'yardstick.c');
const COMPILE_TIMEOUT_MS = 30_000;
const RUN_TIMEOUT_MS = 30_000;
/** The first run of a process warms it up. */
const WARM_UP_RUNS = 1;

/** Environment variable: path of a yardstick that was compiled elsewhere, for machines without a compiler. */
export const YARDSTICK_VARIABLE = 'BELFRY_YARDSTICK';

/** Compiles the yardstick to `path`; rejects with the output of `cc`. With -static it runs on a bare kernel. */
export async function compileYardstick(path: string, flags: readonly string[] = []): Promise<void> {
  await run('cc', ['-O2', '-pthread', ...flags, '-o', path, SOURCE], { timeout: COMPILE_TIMEOUT_MS });
}

export class Yardstick implements AsyncDisposable {
  readonly #program: string;
  /** Removed when it is disposed of. */
  readonly #folder: string | undefined;
  readonly #cpu: number;

  private constructor(program: string, folder: string | undefined, cpu: number) {
    this.#program = program;
    this.#folder = folder;
    this.#cpu = cpu;
  }

  /** Compiles it, unless it is there. Returns a line that says why where it cannot. `cpu` is where it will run. */
  static async build(cpu: number): Promise<Yardstick | string> {
    const ready = process.env[YARDSTICK_VARIABLE];
    if (ready !== undefined && existsSync(ready)) return new Yardstick(ready, undefined, cpu);
    if (!existsSync(SOURCE)) return 'not measured: yardstick.c comes with the sources only';
    const folder = await mkdtemp(join(tmpdir(), 'belfry-doorbell-'));
    const program = join(folder, 'yardstick');
    try {
      await compileYardstick(program);
      return new Yardstick(program, folder, cpu);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      return isMissing ? 'not measured: there is no cc here' : 'not measured: yardstick.c does not compile here';
    }
  }

  /** Returns µs of one ring in C, the guest's loop included: the best of `runs` runs. */
  async measure(payload: Payload, rings: number, runs: number): Promise<number> {
    const args = [hex(payload.bytes), `${rings}`, `${WARM_UP_RUNS + runs}`, `${this.#cpu}`];
    const { stdout } = await run(this.#program, args, { timeout: RUN_TIMEOUT_MS });
    const ns = stdout.trim().split('\n').slice(WARM_UP_RUNS).map(Number);
    return Math.min(...ns) / 1000 / rings;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
