// Ground floor: a thread for a vCPU that does not exist yet. It loads its program, and waits to be told the rest.
import type { MessagePort, Worker } from 'node:worker_threads';
import { moduleBeside, startThread } from '../sys/thread.ts';

const WORKER = moduleBeside('./vcpu-worker', import.meta.url);

export class SpareThread {
  readonly #worker: Worker;

  /** Starts it; `program` is a module with `vcpuProgram`. As long as nobody takes it, it keeps no process from ending. */
  constructor(program: URL) {
    this.#worker = startThread(WORKER, { workerData: program.href });
    this.#worker.unref();
  }

  /** Gives the thread what it waits for, and the thread to the caller. Once. What its program threw so far comes as its `error` then. */
  take(setup: unknown, ports: readonly MessagePort[]): Worker {
    this.#worker.ref();
    this.#worker.postMessage(setup, ports);
    return this.#worker;
  }
}
