// Cellar: one epoll set for everything of a device: kicks, socket, signals, wake-ups. Polls before it sleeps, if told to.
import { Epoll } from './epoll.ts';
import type { Pollable, PollPolicy } from './pollable.ts';

/** While work keeps coming, descriptors are looked at once in so many rounds, and once in so many empty looks. */
const BUSY_ROUNDS = 16;
const IDLE_LOOKS = 512;
const CLOCK_LOOKS = 16;

export class EventLoop implements Disposable {
  readonly #epoll = new Epoll();
  /** The epoll set's own descriptor, readable when `turn` has something to do: how another loop is ridden. */
  readonly fd = this.#epoll.fd;
  readonly #watches = new Map<number, () => void>();
  #pollables: Pollable[] = [];
  readonly #tasks: (() => void)[] = [];
  #nextToken = 1;
  #stopping = false;
  readonly #policy: PollPolicy | undefined;
  /** Set by whoever rides this loop, to be told of tasks: one given outside of any turn needs a turn. */
  onTask: (() => void) | undefined;

  constructor(policy?: PollPolicy) {
    this.#policy = policy;
  }

  /** Calls `onReadable` while `fd` is readable, until disposed; a `pollable` is polled before the loop sleeps. */
  watch(fd: number, onReadable: () => void, pollable?: Pollable): Disposable {
    const token = this.#nextToken++;
    this.#epoll.add(fd, token);
    this.#watches.set(token, onReadable);
    if (pollable !== undefined) this.#pollables = [...this.#pollables, pollable];
    return {
      [Symbol.dispose]: () => {
        if (!this.#watches.delete(token)) return;
        this.#epoll.remove(fd);
        this.#pollables = this.#pollables.filter((other) => other !== pollable);
      },
    };
  }

  /** Runs `task` after the events at hand, before the loop sleeps: how a bounded piece of work lets others go first. */
  afterBatch(task: () => void): void {
    this.#tasks.push(task);
    this.onTask?.();
  }

  /** Blocks this thread until `stop`. */
  run(): void {
    for (this.#stopping = false; !this.#stopping; ) {
      const startedMs = performance.now();
      const pollNs = this.#tasks.length > 0 || this.#pollables.length === 0 ? 0 : (this.#policy?.pollNs() ?? 0);
      if (pollNs > 0) this.#poll(startedMs, pollNs / 1e6);
      if (this.#stopping) return;
      this.turn(-1, startedMs);
    }
  }

  stop(): void {
    this.#stopping = true;
  }

  /** Handles what is there, waiting up to `timeoutMs` for it unless tasks are left; true when tasks are left afterwards. */
  turn(timeoutMs: number, idleSinceMs?: number): boolean {
    const count = this.#epoll.wait(this.#tasks.length > 0 ? 0 : timeoutMs);
    if (idleSinceMs !== undefined) this.#policy?.waited((performance.now() - idleSinceMs) * 1e6, false);
    for (let i = 0; i < count; i++) this.#watches.get(this.#epoll.token(i))?.();
    // One by one: of a task that throws, the others are not to suffer. What they add is for the next turn.
    for (let left = this.#tasks.length; left > 0; left--) this.#tasks.shift()?.();
    return this.#tasks.length > 0;
  }

  /** Looks at every pollable until none has had work for `patienceMs`; what arrives while rearming is served before this returns. */
  #poll(startedMs: number, patienceMs: number): void {
    for (const pollable of this.#pollables) pollable.suppress();
    let idleSinceMs = startedMs;
    for (let rounds = 1, looks = 1; !this.#stopping; ) {
      let progress = false;
      for (const pollable of this.#pollables) progress = pollable.poll() || progress;
      if (progress) {
        const nowMs = performance.now();
        if (looks > 1) this.#policy?.waited((nowMs - idleSinceMs) * 1e6, true);
        idleSinceMs = nowMs;
        looks = 1;
        if (++rounds % BUSY_ROUNDS === 0 && this.turn(0)) break;
      } else if (++looks % CLOCK_LOOKS === 0) {
        if (performance.now() - idleSinceMs > patienceMs) break;
        if (looks % IDLE_LOOKS === 0 && this.turn(0)) break;
      }
    }
    for (const pollable of this.#pollables) if (pollable.rearm()) pollable.poll();
  }

  [Symbol.dispose](): void {
    this.#watches.clear();
    this.#pollables = [];
    this.#epoll[Symbol.dispose]();
  }
}
