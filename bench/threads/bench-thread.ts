// bench/threads: a worker thread that does one job after the other, from the side of the thread that starts it.
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { startThread } from '../../src/sys/thread.ts';

/** Messages of a thread of `serveJobs`: it has started, it has begun its job, its result. */
export type FromBenchThread =
  | { readonly type: 'up'; readonly thread: number }
  | { readonly type: 'ready' }
  | { readonly type: 'done'; readonly result: unknown };

export interface RunningJob<Result> {
  /** Fulfilled when the thread is prepared and begins. */
  readonly ready: Promise<void>;
  /** Rejects when the thread threw. */
  readonly result: Promise<Result>;
}

export class BenchThread<Job, Result> implements AsyncDisposable {
  /** Thread id of the kernel, gettid(2), to send signals to. */
  readonly thread: number;
  readonly #worker: Worker;
  readonly #onDispose: (() => void) | undefined;
  #ended: Error | undefined;

  private constructor(worker: Worker, thread: number, onDispose: (() => void) | undefined) {
    this.#worker = worker;
    this.thread = thread;
    this.#onDispose = onDispose;
    // A thread that fails between jobs fails the next one.
    worker.on('error', (error: Error) => {
      this.#ended = error;
    });
    worker.on('exit', () => {
      this.#ended ??= new Error('a thread of the measurement ended early');
    });
  }

  /** Starts `program`. `onDispose` ends the system call in which a job may have blocked the thread. */
  static async start<Job, Result>(
    program: URL,
    setup: unknown,
    onDispose?: (thread: number) => void,
  ): Promise<BenchThread<Job, Result>> {
    const worker = startThread(program, { workerData: setup });
    const [message] = (await once(worker, 'message')) as [FromBenchThread];
    if (message.type !== 'up') throw new Error(`a thread began with ${message.type}`);
    const { thread } = message;
    return new BenchThread(worker, thread, onDispose && (() => onDispose(thread)));
  }

  /** Starts a job. One at a time. */
  run(job: Job): RunningJob<Result> {
    const ready = Promise.withResolvers<void>();
    const result = Promise.withResolvers<Result>();
    const onMessage = (message: FromBenchThread): void => {
      if (message.type === 'ready') ready.resolve();
      if (message.type === 'done') settle(() => result.resolve(message.result as Result));
    };
    // Registered after the constructor's handlers, so that `#ended` is set.
    const onEnd = (): void => settle(() => result.reject(this.#ended));
    const settle = (conclude: () => void): void => {
      this.#worker.off('message', onMessage).off('error', onEnd).off('exit', onEnd);
      conclude();
    };
    this.#worker.on('message', onMessage).on('error', onEnd).on('exit', onEnd);
    const readyOrEnded = Promise.race([ready.promise, result.promise.then(() => {})]);
    // A caller that awaits neither gets the error from the thread at the other end of the queue.
    for (const promise of [readyOrEnded, result.promise]) promise.catch(() => {});
    if (this.#ended === undefined) this.#worker.postMessage(job);
    else onEnd();
    return { ready: readyOrEnded, result: result.promise };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#onDispose?.();
    await this.#worker.terminate();
  }
}
