// vmm: the vCPU exit handler on the main thread: passes accesses to the buses, and lets the vCPUs go on.
import { EventFd } from '../sys/event-fd.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import type { Bus } from './bus.ts';
import {
  ADDRESS_HIGH,
  ADDRESS_LOW,
  ANSWERED,
  ASKED,
  CLOSED,
  type ExitProgramData,
  KIND,
  MEMORY,
  type Shortcuts,
  SIZE_BYTES,
  START_CANCELLED,
  START_HELD,
  START_RELEASED,
  STATE,
  VALUE,
  WORDS_PER_VCPU,
  WRITE,
} from './exit-protocol.ts';
import { newPostedWords, POSTED_MAX, type PostedWords, PostedWrites } from './posted-writes.ts';

export interface ExitHandlerOptions {
  readonly ports: Bus;
  readonly memory: Bus;
  readonly loop: EventLoop;
  readonly shortcuts: Shortcuts;
  /** A device threw: a bug, which ends the machine. */
  readonly onFailure: (problem: Error) => void;
}

/** Handles the exits of all vCPUs. */
export class ExitHandler implements Disposable {
  /** Exits answered so far. */
  exits = 0;
  readonly #options: ExitHandlerOptions;
  readonly #eventFd = EventFd.create();
  readonly #watch: Disposable;
  readonly #start = new Int32Array(new SharedArrayBuffer(4));
  readonly #vcpus: Int32Array<SharedArrayBuffer>[];
  readonly #posted: { readonly words: PostedWords; readonly writes: PostedWrites }[];
  /** The vCPUs that wait for a device's promise. */
  readonly #waiting = new Set<Int32Array<SharedArrayBuffer>>();
  /** A posted write waits for its device, and everything else waits for that write. */
  #isBlocked = false;

  constructor(cpus: number, options: ExitHandlerOptions) {
    this.#options = options;
    this.#vcpus = Array.from({ length: cpus }, () => new Int32Array(new SharedArrayBuffer(4 * WORDS_PER_VCPU)));
    this.#posted = this.#vcpus.map(() => {
      const words = newPostedWords();
      return { words, writes: new PostedWrites(words) };
    });
    this.#watch = options.loop.watch(this.#eventFd.fd, { readable: this.#onRequest });
  }

  /** The data for the program of vCPU `index`. */
  programData(index: number): ExitProgramData {
    const { words: posted } = this.#posted[index]!;
    const { shortcuts } = this.#options;
    return { words: this.#vcpus[index]!, eventFd: this.#eventFd.fd, start: this.#start, posted, shortcuts };
  }

  /** Lets the vCPUs start. */
  releaseStart(): void {
    this.#decideStart(START_RELEASED);
  }

  #decideStart(to: number): void {
    Atomics.compareExchange(this.#start, 0, START_HELD, to);
    Atomics.notify(this.#start, 0);
  }

  /** Makes threads that still wait to start fail. */
  cancelStart(): void {
    this.#decideStart(START_CANCELLED);
  }

  /**
   * Handles posted writes, then stops answering exits and releases waiting threads, all of which have been told to
   * stop.
   */
  close(): void {
    // A thread's exit event can come before the event of its last posted write.
    this.#takePosted();
    for (const words of this.#vcpus) {
      Atomics.store(words, STATE, CLOSED);
      Atomics.notify(words, STATE);
    }
    for (const { writes } of this.#posted) writes.discard();
  }

  readonly #onRequest = (): void => {
    this.#eventFd.clear();
    this.#serveAll();
  };

  readonly #serveAll = (): void => {
    for (const words of this.#vcpus) {
      if (Atomics.load(words, STATE) !== ASKED || this.#waiting.has(words)) continue;
      // Writes that any vCPU posted before this request come first.
      if (!this.#takePosted()) return;
      this.#serve(words);
    }
    // A guest that never stops posting must not block the event loop.
    const isMoreLeft = this.#takePosted() && this.#posted.some(({ writes }) => !writes.isEmpty);
    if (isMoreLeft) this.#options.loop.soon(this.#serveAll);
  };

  /** Handles the writes posted so far. Returns false if one waits for its device; `#serveAll` is called again later. */
  #takePosted(): boolean {
    for (const { writes } of this.#posted)
      for (let left = POSTED_MAX; left > 0 && !this.#isBlocked && writes.take(this.#writePosted); left--);
    return !this.#isBlocked;
  }

  readonly #writePosted = (port: number, sizeBytes: number, value: number): void => {
    this.exits++;
    try {
      const wait = this.#options.ports.write(port, sizeBytes, value);
      if (wait !== undefined) this.#blockUntil(wait);
    } catch (error) {
      this.#options.onFailure(error as Error);
    }
  };

  #blockUntil(wait: Promise<void>): void {
    this.#isBlocked = true;
    wait
      .catch((error: Error) => this.#options.onFailure(error))
      .then(() => {
        this.#isBlocked = false;
        this.#serveAll();
      });
  }

  #serve(words: Int32Array<SharedArrayBuffer>): void {
    this.exits++;
    const kind = words[KIND] as number;
    const bus = (kind & MEMORY) === 0 ? this.#options.ports : this.#options.memory;
    const address = (words[ADDRESS_LOW]! >>> 0) + (words[ADDRESS_HIGH]! >>> 0) * 2 ** 32;
    const sizeBytes = words[SIZE_BYTES]!;
    try {
      if ((kind & WRITE) === 0) words[VALUE] = bus.read(address, sizeBytes);
      else {
        const wait = bus.write(address, sizeBytes, words[VALUE]! >>> 0);
        if (wait !== undefined) return this.#answerAfter(words, wait);
      }
    } catch (error) {
      this.#options.onFailure(error as Error);
    }
    answer(words);
  }

  #answerAfter(words: Int32Array<SharedArrayBuffer>, wait: Promise<void>): void {
    this.#waiting.add(words);
    wait
      .catch((error: Error) => this.#options.onFailure(error))
      .then(() => {
        this.#waiting.delete(words);
        answer(words);
      });
  }

  /** Only after the last vCPU's thread ended. */
  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#eventFd[Symbol.dispose]();
  }
}

/** Answers a vCPU, unless the handler was closed meanwhile. */
function answer(words: Int32Array<SharedArrayBuffer>): void {
  if (Atomics.compareExchange(words, STATE, ASKED, ANSWERED) === ASKED) Atomics.notify(words, STATE);
}
