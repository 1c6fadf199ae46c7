// demo: the user's disk, served by `belfry serve blk` in a child process that ends with this one.
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { runInGroup } from '../guests/guest-process.ts';
import { moduleBeside } from '../src/sys/thread.ts';

export interface ServedStoreOptions {
  /** STORE as `belfry serve blk` takes it. */
  readonly spec: string;
  readonly readOnly: boolean;
  readonly serial: string;
  /** Called with each log line of the back end. */
  readonly log: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** The event `listening` of `belfry serve blk --json`. */
export interface StoreFacts {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
}

/** The event `closed`. */
export interface StoreCounts {
  readonly requests: number;
  readonly batches: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly kicks: number;
  readonly calls: number;
  readonly kicksSaved: number;
  readonly callsSaved: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

interface Event {
  readonly event: string;
  readonly level?: string;
  readonly line?: string;
}

/** The back end cannot serve the store; the message is its last line. */
export class StoreError extends Error {
  readonly code = 'STORE_NOT_SERVED';
  /** The exit code of the back end: 2 where an argument is wrong. */
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

export interface StartedStore {
  readonly store: ServedStore;
  readonly facts: StoreFacts;
}

const USAGE = 2;
/** Time to stop: a store may have much to flush. */
const STOP_MS = 60_000;

export class ServedStore implements AsyncDisposable {
  readonly socket: string;
  /** Aborted when the back end ends by itself; the reason is a `StoreError`. */
  readonly ended: AbortSignal;
  readonly #end = new AbortController();
  readonly #folder: string;
  readonly #listening = Promise.withResolvers<StoreFacts>();
  readonly #options: ServedStoreOptions;
  readonly #exited: Promise<void>;
  #child: ChildProcess | undefined;
  #counts: StoreCounts | undefined;
  #lastLine = '';
  #isListening = false;
  #isStopping = false;

  private constructor(options: ServedStoreOptions) {
    this.#options = options;
    this.ended = this.#end.signal;
    this.#folder = mkdtempSync(join(tmpdir(), 'belfry-store-'));
    this.socket = join(this.#folder, 'disk.sock');
    this.#listening.promise.catch(() => {});
    // It ends by SIGTERM even when interrupted, so that the store is flushed and closed.
    const serving = runInGroup(serveCommand(options, this.socket), {
      stdio: ['ignore', 'pipe', 'pipe'],
      attach: this.#attach,
    });
    this.#exited = serving.then(this.#onExit, this.#fail);
  }

  /** Fulfilled when it listens. Throws `StoreError`, and the signal's reason. */
  static async start(options: ServedStoreOptions): Promise<StartedStore> {
    const { signal } = options;
    signal?.throwIfAborted();
    const store = new ServedStore(options);
    signal?.addEventListener('abort', () => store.#listening.reject(signal.reason));
    try {
      return { store, facts: await store.#listening.promise };
    } catch (error) {
      await store[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Stops serving and returns the final counts. Throws `StoreError` when it had failed before. */
  async stop(): Promise<StoreCounts> {
    this.#isStopping = true;
    this.#child?.kill('SIGTERM');
    const killer = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_MS);
    await this.#exited;
    clearTimeout(killer);
    if (this.#counts === undefined) throw this.ended.reason;
    return this.#counts;
  }

  readonly #attach = (child: ChildProcess): void => {
    this.#child = child;
    const { stdout, stderr } = child;
    if (stdout !== null) createInterface({ input: stdout }).on('line', this.#take);
    if (stderr !== null) createInterface({ input: stderr }).on('line', this.#complain);
  };

  readonly #take = (line: string): void => {
    const event = eventOf(line);
    if (event?.event === 'listening') this.#onListening(event as unknown as StoreFacts);
    if (event?.event === 'closed') this.#counts = event as unknown as StoreCounts;
    if (event?.line !== undefined && event.level !== 'info') this.#options.log(event.line);
  };

  #onListening(facts: StoreFacts): void {
    this.#isListening = true;
    this.#listening.resolve(facts);
  }

  readonly #complain = (line: string): void => {
    this.#lastLine = eventOf(line)?.line ?? line.replace(/^belfry: /, '');
    // A line before it listens becomes the message of the StoreError.
    if (this.#isListening) this.#options.log(this.#lastLine);
  };

  readonly #onExit = (code: number | null): void => {
    const said = this.#lastLine || `the back end of ${this.#options.spec} ended (${code ?? 'killed'})`;
    if (!this.#isStopping || this.#counts === undefined) this.#fail(new StoreError(said, code === USAGE ? USAGE : 1));
  };

  readonly #fail = (error: Error): void => {
    this.#end.abort(error);
    this.#listening.reject(error);
  };

  async [Symbol.asyncDispose](): Promise<void> {
    // An error has already been reported through `ended`.
    await this.stop().catch(() => {});
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function serveCommand({ spec, readOnly, serial }: ServedStoreOptions, socket: string) {
  const program = fileURLToPath(moduleBeside('../bin/belfry', import.meta.url));
  const serve = ['serve', 'blk', spec, '--socket', socket, '--serial', serial, '--json'];
  return {
    file: process.execPath,
    words: ['--disable-warning=ExperimentalWarning', program, ...serve, ...(readOnly ? ['--read-only'] : [])],
  };
}

/** Undefined for a line that is no event, which a module printed. */
function eventOf(line: string): Event | undefined {
  try {
    const value = JSON.parse(line) as Event | null;
    return typeof value?.event === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
