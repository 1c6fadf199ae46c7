// bench/doorbell: the exit loop in C, compiled in a temporary folder, to compare ours with.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Payload } from '../../testing/payload.ts';

const run = promisify(execFile);
const SOURCE = join(import.meta.dirname, 'yardstick.c');
const COMPILE_TIMEOUT_MS = 30_000;
const RUN_TIMEOUT_MS = 30_000;
/** The first run of a process warms it up. */
const WARM_UP_RUNS = 1;

export class Yardstick implements AsyncDisposable {
  readonly #folder: string;
  readonly #cpu: number;

  private constructor(folder: string, cpu: number) {
    this.#folder = folder;
    this.#cpu = cpu;
  }

  /** Compiles it; a line that says why not, where that is not possible. `cpu` is where it will run. */
  static async build(cpu: number): Promise<Yardstick | string> {
    if (!existsSync(SOURCE)) return 'not measured: yardstick.c comes with the sources only';
    const folder = await mkdtemp(join(tmpdir(), 'belfry-doorbell-'));
    try {
      await run('cc', ['-O2', '-pthread', '-o', join(folder, 'yardstick'), SOURCE], { timeout: COMPILE_TIMEOUT_MS });
      return new Yardstick(folder, cpu);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      return isMissing ? 'not measured: there is no cc here' : 'not measured: yardstick.c does not compile here';
    }
  }

  /** µs of one ring in C, the guest's loop included: of the best of so many runs. */
  async measure(payload: Payload, rings: number, runs: number): Promise<number> {
    const args = [hex(payload.bytes), `${rings}`, `${WARM_UP_RUNS + runs}`, `${this.#cpu}`];
    const { stdout } = await run(join(this.#folder, 'yardstick'), args, { timeout: RUN_TIMEOUT_MS });
    const ns = stdout.trim().split('\n').slice(WARM_UP_RUNS).map(Number);
    return Math.min(...ns) / 1000 / rings;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
