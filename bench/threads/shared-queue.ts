// bench/threads: what the threads of a measurement share: memory with a ring in it, a kick, a call, and a stop word.
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import type { QueuePlan } from '../load/queue-plan.ts';

/** The shared memory, which each thread maps. */
export interface SharedMemory {
  readonly fd: number;
  readonly sizeBytes: number;
}

/** A shared word that tells a thread to end its job. Its setter also has to wake the thread. */
export class StopWord {
  /** What another thread passes to the constructor to share the word. */
  readonly shared: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(shared = new SharedArrayBuffer(4)) {
    this.shared = shared;
    this.#word = new Int32Array(shared);
  }

  get isSet(): boolean {
    return Atomics.load(this.#word, 0) !== 0;
  }

  set(stop: boolean): void {
    Atomics.store(this.#word, 0, stop ? 1 : 0);
  }
}

export class SharedQueue implements Disposable {
  readonly memory: SharedMemory;
  readonly mapping: Mapping;
  readonly kick: EventFd;
  readonly call: EventFd;
  readonly stop = new StopWord();
  /** Signalled with `stop`, for a thread that sleeps in an event loop. */
  readonly stopEvent: EventFd;
  readonly #resources: DisposableStack;

  /** Throws SystemError. */
  constructor(name: string, sizeBytes: number) {
    using resources = new DisposableStack();
    this.memory = { fd: createMemfd(name, sizeBytes), sizeBytes };
    resources.defer(() => closeFd(this.memory.fd));
    this.mapping = resources.use(Mapping.ofFile(this.memory.fd, sizeBytes));
    this.kick = resources.use(EventFd.create());
    this.call = resources.use(EventFd.create());
    this.stopEvent = resources.use(EventFd.create());
    this.#resources = resources.move();
  }

  /** Clears the memory for the next round: both sides expect rings and request headers to be zero. */
  renew(plan: QueuePlan): void {
    this.mapping.bytes.fill(0, 0, plan.data);
    this.stop.set(false);
    this.stopEvent.clear();
  }

  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }
}
