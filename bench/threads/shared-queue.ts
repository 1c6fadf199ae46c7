// bench/threads: what all threads of a measurement share: memory with a ring in it, a kick, a call, and a word that says stop.
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import type { QueuePlan } from '../load/queue-plan.ts';
import { StopWord } from './stop-word.ts';

/** What each thread maps for itself. */
export interface SharedMemory {
  readonly fd: number;
  readonly sizeBytes: number;
}

export class SharedQueue implements Disposable {
  readonly memory: SharedMemory;
  readonly mapping: Mapping;
  readonly kick: EventFd;
  readonly call: EventFd;
  readonly stop = new StopWord();
  readonly #resources: DisposableStack;

  /** Throws SystemError. */
  constructor(name: string, sizeBytes: number) {
    using resources = new DisposableStack();
    this.memory = { fd: createMemfd(name, sizeBytes), sizeBytes };
    resources.defer(() => closeFd(this.memory.fd));
    this.mapping = resources.use(Mapping.ofFile(this.memory.fd, sizeBytes));
    this.kick = resources.use(EventFd.create());
    this.call = resources.use(EventFd.create());
    this.#resources = resources.move();
  }

  /** As new, for the next round: both sides take rings and request headers to be zero. */
  renew(plan: QueuePlan): void {
    this.mapping.bytes.fill(0, 0, plan.data);
    this.stop.set(false);
  }

  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }
}
