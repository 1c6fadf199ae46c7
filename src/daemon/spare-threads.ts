// daemon: serving threads that are started before there is a device: their modules are loaded, and they wait for a setup.
import { once } from 'node:events';
import { type MessagePort, parentPort, type Worker, workerData } from 'node:worker_threads';
import { moduleBeside, startThread } from '../sys/thread.ts';
import type { RehearsalPlan } from './rehearsal-plan.ts';

/** The module of a serving thread in this folder, without its extension. */
export type ServingModule = 'device-thread' | 'queue-thread';

/** The `workerData` of a thread whose setup comes as its first message. */
interface Later {
  readonly isLater: true;
  /** What it rehearses meanwhile. */
  readonly rehearsal: RehearsalPlan | undefined;
}

/** The first message of a spare thread. */
interface Loaded {
  /** Requests that were served in its rehearsal. */
  readonly rehearsed: number;
}

/** Threads to be taken when a device is served. */
export class SpareThreads {
  readonly #spares = new Map<ServingModule, Worker[]>();
  readonly #rehearsal: RehearsalPlan | undefined;

  /** Starts the threads that a device on `threads` threads needs. Default: none. */
  constructor(threads = 0, rehearsal?: RehearsalPlan) {
    this.#rehearsal = rehearsal;
    for (let i = 0; i < threads; i++) this.#prepare(i === 0 ? 'device-thread' : 'queue-thread');
  }

  #prepare(file: ServingModule): void {
    const spares = this.#spares.get(file) ?? [];
    const workerData: Later = { isLater: true, rehearsal: this.#rehearsal };
    spares.push(startThread(urlOf(file), { workerData }));
    this.#spares.set(file, spares);
  }

  /**
   * Resolves when every spare thread has loaded its modules and rehearsed, to the number of requests that were served in
   * that. Rejects when one cannot be loaded.
   */
  async loaded(): Promise<number> {
    const threads = [...this.#spares.values()].flat();
    const messages = (await Promise.all(threads.map((worker) => once(worker, 'message')))) as [Loaded][];
    return messages.reduce((sum, [{ rehearsed }]) => sum + rehearsed, 0);
  }

  /** Ends the rehearsals: the threads are needed now. */
  hurry(): void {
    if (this.#rehearsal?.isOver !== undefined) Atomics.store(this.#rehearsal.isOver, 0, 1);
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

/**
 * For a serving thread whose modules are loaded: resolves to its setup. A spare one rehearses first.
 * @param rehearse if it rejects, the thread serves as well, but less fast at first.
 */
export async function threadSetup<Setup>(rehearse: (plan: RehearsalPlan) => Promise<number>): Promise<Setup> {
  if (!isLater(workerData) || parentPort === null) return workerData as Setup;
  const { rehearsal } = workerData;
  const rehearsed = rehearsal === undefined ? 0 : await rehearse(rehearsal).catch(() => 0);
  parentPort.postMessage({ rehearsed } satisfies Loaded);
  const [setup] = await once(parentPort, 'message');
  return setup as Setup;
}

function isLater(data: unknown): data is Later {
  return (data as Partial<Later> | null)?.isLater === true;
}
