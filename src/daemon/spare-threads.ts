// daemon: serving threads that are started before there is a device: their modules are loaded, and they wait for a setup.
import { once } from 'node:events';
import { type MessagePort, parentPort, type Worker, workerData } from 'node:worker_threads';
import { moduleBeside, startThread } from '../sys/thread.ts';

/** The module of a serving thread in this folder, without its extension. */
export type ServingModule = 'device-thread' | 'queue-thread';

/** The `workerData` of a thread whose setup comes as its first message. */
const LATER = 'later';

/** Threads to be taken when a device is served. */
export class SpareThreads {
  readonly #spares = new Map<ServingModule, Worker[]>();

  /** Starts the threads that a device on `threads` threads needs. Default: none. */
  constructor(threads = 0) {
    for (let i = 0; i < threads; i++) this.#prepare(i === 0 ? 'device-thread' : 'queue-thread');
  }

  #prepare(file: ServingModule): void {
    const spares = this.#spares.get(file) ?? [];
    spares.push(startThread(urlOf(file), { workerData: LATER }));
    this.#spares.set(file, spares);
  }

  /** Resolves when every spare thread has loaded its modules. Rejects when one cannot. */
  async loaded(): Promise<void> {
    await Promise.all([...this.#spares.values()].flat().map((worker) => once(worker, 'message')));
  }

  /** Gives a setup to a spare thread, or to a new one. `transfers` are the ports in it. */
  take(file: ServingModule, setup: unknown, transfers: readonly MessagePort[]): Worker {
    const spare = this.#spares.get(file)?.shift();
    if (spare === undefined) return startThread(urlOf(file), { workerData: setup, transferList: [...transfers] });
    spare.postMessage(setup, [...transfers]);
    return spare;
  }
}

function urlOf(file: ServingModule): URL {
  return moduleBeside(`./${file}`, import.meta.url);
}

/** For a serving thread whose modules are loaded: resolves to its setup. */
export async function threadSetup<Setup>(): Promise<Setup> {
  if (workerData !== LATER || parentPort === null) return workerData as Setup;
  parentPort.postMessage('loaded');
  const [setup] = await once(parentPort, 'message');
  return setup as Setup;
}
