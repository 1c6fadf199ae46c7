// How long each test file took the last time, to estimate the time left: kept in node_modules/.cache.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export const DURATIONS_PATH = 'node_modules/.cache/belfry/test-seconds.json';

/** Seconds by the name of a file, or of a stage that is one command. */
export class Durations {
  readonly #path: string;
  readonly #seconds: Map<string, number>;

  constructor(path: string) {
    this.#path = path;
    this.#seconds = read(path);
  }

  of(name: string): number | undefined {
    return this.#seconds.get(name);
  }

  set(name: string, seconds: number): void {
    this.#seconds.set(name, Math.round(seconds * 10) / 10);
  }

  /** Writes the file. A failure is ignored: the next run then has no durations. */
  save(): void {
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
      const scratch = `${this.#path}.${process.pid}`;
      writeFileSync(scratch, JSON.stringify(Object.fromEntries([...this.#seconds].sort()), undefined, 1));
      renameSync(scratch, this.#path);
    } catch {
      // A read-only checkout.
    }
  }
}

function read(path: string): Map<string, number> {
  try {
    const entries = Object.entries(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>);
    return new Map(entries.filter((entry): entry is [string, number] => typeof entry[1] === 'number'));
  } catch {
    return new Map();
  }
}
