// bench/threads: what all threads of a measurement share: memory with a ring in it, a kick, a call, and a word that says stop.
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import type { QueuePlan } from '../load/queue-plan.ts';

/** What each thread maps for itself. */
export interface SharedMemory {
  readonly fd: number;
  readonly sizeBytes: number;
}

/** A shared word that tells a thread to end its job; whatever sets it wakes the thread by other means. */
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

  /** As new, for the next round: both sides take rings and request headers to be zero. */
  renew(plan: QueuePlan): void {
    this.mapping.bytes.fill(0, 0, plan.data);
    this.stop.set(false);
    this.stopEvent.clear();
  }

  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }
}
