// test/microvm/bed: the disk of a bed, served by our own daemon, which tells how its queues stand when the bed says nothing any more.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runGuestProcess } from '../../../guests/guest-process.ts';
import type { QueueReport } from '../../../src/transports/queue/queue-report.ts';

const CHECKOUT = join(import.meta.dirname, '../../..');
const LISTEN_TIMEOUT_MS = 20_000;
const ANSWER_TIMEOUT_MS = 5_000;

export interface BedDiskOptions {
  readonly image: string;
  readonly socket: string;
  /** When it ends at the latest. */
  readonly timeoutMs: number;
  /** What it says of problems. */
  readonly onLine: (line: string) => void;
}

/** `undefined`: it did not answer. */
export type DiskState = readonly QueueReport[] | undefined;

/** It ends by itself when QEMU goes; if nobody ever came, when it is disposed of. */
export class BedDisk implements AsyncDisposable {
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  readonly #onLine: (line: string) => void;
  #isListening = false;
  #isOver = false;
  #pid = 0;
  #onState: (state: DiskState) => void = () => {};

  private constructor({ image, socket, timeoutMs, onLine }: BedDiskOptions) {
    this.#onLine = onLine;
    const words = ['serve', 'blk', image, '--read-only', '--once', '--json', '--socket', socket];
    const onStart = (pid: number): void => {
      this.#pid = pid;
    };
    const options = { timeoutMs, onLine: this.#take, onStart, signal: this.#abort.signal };
    this.#ended = runGuestProcess({ file: join(CHECKOUT, 'belfry'), words }, options)
      .catch(() => {})
      .then(() => {
        this.#isOver = true;
      });
  }

  static async serve(options: BedDiskOptions): Promise<BedDisk> {
    const disk = new BedDisk(options);
    const deadline = performance.now() + LISTEN_TIMEOUT_MS;
    while (!disk.#isListening && !disk.#isOver && performance.now() < deadline) await sleep(20);
    if (disk.#isListening) return disk;
    await disk[Symbol.asyncDispose]();
    throw new Error(`belfry serve did not offer the disk of the test bed within ${LISTEN_TIMEOUT_MS / 1000} s`);
  }

  readonly #take = (line: string): void => {
    if (!line.startsWith('{')) return this.#onLine(line);
    const { event, queues } = JSON.parse(line) as { event: string; queues?: readonly QueueReport[] };
    if (event === 'listening') this.#isListening = true;
    if (event === 'queues') this.#onState(queues);
  };

  /** How its queues stand. */
  async state(): Promise<DiskState> {
    const { promise, resolve } = Promise.withResolvers<DiskState>();
    this.#onState = resolve;
    if (!this.#isOver) process.kill(this.#pid, 'SIGUSR2');
    const tooLate = new AbortController();
    const silence = sleep(ANSWER_TIMEOUT_MS, undefined, { signal: tooLate.signal }).catch(() => undefined);
    const state = await Promise.race([promise, silence]);
    tooLate.abort();
    return state;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }
}

/** Whether the driver has no answer to wait for: all it made available is used, and it has seen that. */
export function owesNothing(state: DiskState): boolean {
  return (
    state !== undefined &&
    state.length > 0 &&
    state.every(
      ({ runs, words: { availableIndex, usedIndex, usedEvent } }) =>
        runs === 'running' && availableIndex === usedIndex && usedEvent === usedIndex,
    )
  );
}
