// test/microvm/bed: the disk of a bed, served by belfry serve, which reports the state of its queues when the bed is silent.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runGuestProcess } from '../../../guests/guest-process.ts';
import { eventually, patience } from '../../../src/testing/patience.ts';
import type { QueueReport } from '../../../src/transports/queue/queue-report.ts';

const CHECKOUT = join(import.meta.dirname, '../../..');
const ANSWER_TIMEOUT_MS = 5_000;

export interface BedDiskOptions {
  readonly image: string;
  readonly socket: string;
  /** Its log lines about problems. */
  readonly onLine: (line: string) => void;
}

/** `undefined`: it did not answer. */
export type DiskState = readonly QueueReport[] | undefined;

/** It ends by itself when QEMU disconnects; without a connection, when it is disposed of. */
export class BedDisk implements AsyncDisposable {
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  readonly #onLine: (line: string) => void;
  #isListening = false;
  #isOver = false;
  #pid = 0;
  #onState: (state: DiskState) => void = () => {};

  private constructor({ image, socket, onLine }: BedDiskOptions) {
    this.#onLine = onLine;
    const words = ['serve', 'blk', image, '--read-only', '--once', '--json', '--socket', socket];
    const onStart = (pid: number): void => {
      this.#pid = pid;
    };
    const options = { onLine: this.#take, onStart, signal: this.#abort.signal };
    this.#ended = runGuestProcess({ file: join(CHECKOUT, 'belfry'), words }, options)
      .catch(() => {})
      .then(() => {
        this.#isOver = true;
      });
  }

  static async serve(options: BedDiskOptions): Promise<BedDisk> {
    const disk = new BedDisk(options);
    try {
      await eventually('belfry serve offers the disk of the test bed', () => disk.#isListening || disk.#isOver);
      if (disk.#isListening) return disk;
      throw new Error('belfry serve ended before it offered the disk of the test bed');
    } catch (error) {
      await disk[Symbol.asyncDispose]();
      throw error;
    }
  }

  readonly #take = (line: string): void => {
    if (!line.startsWith('{')) return this.#onLine(line);
    const { event, queues } = JSON.parse(line) as { event: string; queues?: readonly QueueReport[] };
    if (event === 'listening') this.#isListening = true;
    if (event === 'queues') this.#onState(queues);
  };

  /** The state of its queues. */
  async state(): Promise<DiskState> {
    const { promise, resolve } = Promise.withResolvers<DiskState>();
    this.#onState = resolve;
    if (!this.#isOver) process.kill(this.#pid, 'SIGUSR2');
    const tooLate = new AbortController();
    const silence = sleep(patience(ANSWER_TIMEOUT_MS), undefined, { signal: tooLate.signal }).catch(() => undefined);
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
