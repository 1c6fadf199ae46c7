// kvm: a thread for a vCPU that does not exist yet. It loads its program, and waits for its setup.
import type { MessagePort, Worker } from 'node:worker_threads';
import { moduleBeside, startThread } from '../sys/thread.ts';

const WORKER = moduleBeside('./vcpu-worker', import.meta.url);

/** A vCPU thread that has started before its vCPU, to save time later. */
export class SpareThread {
  readonly #worker: Worker;

  /**
   * Starts the thread; `program` is a module with `vcpuProgram`. Until `take` it does not keep the process from ending.
   */
  constructor(program: URL) {
    this.#worker = startThread(WORKER, { workerData: program.href });
    this.#worker.unref();
  }

  /**
   * Sends the setup and returns the worker. Call it once. An error of loading the program is emitted as `error` after
   * this.
   */
  take(setup: unknown, ports: readonly MessagePort[]): Worker {
    this.#worker.ref();
    this.#worker.postMessage(setup, ports);
    return this.#worker;
  }
}
