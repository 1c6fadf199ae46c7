// test/cli: a supervisor that prints events, and what they say.
import { readdirSync, readFileSync } from 'node:fs';
import { eventually } from '../../src/testing/patience.ts';
import { type Running, type Surroundings, startBelfry } from './belfry-process.ts';

interface Event {
  readonly event: string;
  readonly line?: string;
  readonly pid?: number;
  readonly devicePid?: number;
  readonly version?: string;
  readonly rehearsed?: number;
  readonly pauseMs?: number;
}

export class Supervised implements AsyncDisposable {
  readonly process: Running;
  readonly socket: string;
  readonly #events: Event[] = [];
  #text = '';

  /** Starts `belfry serve blk STORE --supervise --json`. */
  constructor(store: string, socket: string, flags: readonly string[] = [], surroundings?: Surroundings) {
    this.socket = socket;
    const args = ['serve', 'blk', store, '--socket', socket, '--supervise', '--json', ...flags];
    this.process = startBelfry(args, surroundings);
    this.process.onOutput((text) => {
      const lines = (this.#text + text).split('\n');
      this.#text = lines.pop() ?? '';
      this.#events.push(...lines.map((line) => JSON.parse(line) as Event));
    });
  }

  count(event: string): number {
    return this.#events.filter((one) => one.event === event).length;
  }

  /** The first event of that name. */
  find(event: string): Event {
    const found = this.#events.find((one) => one.event === event);
    if (found === undefined) throw new Error(`no ${event} in ${JSON.stringify(this.#events)}`);
    return found;
  }

  /** The process that serves. */
  get devicePid(): number {
    const last = this.#events.findLast(({ event }) => event === 'restarted' || event === 'listening');
    return last?.devicePid ?? last?.pid ?? 0;
  }

  /** All its processes. */
  get pids(): number[] {
    const parentOf = (pid: string): number => {
      try {
        return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
      } catch {
        return 0; // ended meanwhile
      }
    };
    const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return all.filter((pid) => parentOf(pid) === this.process.pid).map(Number);
  }

  /** Waits until a process stands by that has not had its turn. */
  async standsBy(): Promise<void> {
    await eventually('a process stands by', () => {
      const last = this.#events.findLast(({ event }) => event === 'standby' || event === 'restarted');
      return last?.event === 'standby';
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}
