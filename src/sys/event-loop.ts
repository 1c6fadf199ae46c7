// Cellar: one epoll set for all a device waits for. Polls before it sleeps, runs timers and tasks, lets promises settle.
import { EPOLLIN, EPOLLOUT } from './constants.ts';
import { Epoll } from './epoll.ts';
import type { Pollable, PollPolicy } from './pollable.ts';
import { TimerList } from './timer-list.ts';

/** While work keeps coming, descriptors and promises get their turn once in so many rounds, and once in so many empty looks. */
const BUSY_ROUNDS = 16;
const IDLE_LOOKS = 512;
const CLOCK_LOOKS = 16;

/** What to call for a descriptor, and what to poll in its place. */
export interface Watch {
  /** Called while the descriptor can be read, has hung up or failed. */
  readonly readable?: () => void;
  /** Called while the descriptor takes output. */
  readonly writable?: () => void;
  /** Polled before the loop sleeps. */
  readonly pollable?: Pollable;
}

export class EventLoop implements Disposable {
  readonly #epoll = new Epoll();
  /** The epoll set's own descriptor, readable when `turn` has something to do: another loop can watch it. */
  readonly fd = this.#epoll.fd;
  readonly #watches = new Map<number, Watch>();
  readonly #timers: TimerList;
  #pollables: readonly Pollable[] = [];
  #tasks = new Set<() => void>();
  #due = new Set<() => void>();
  #nextToken = 1;
  #stopping = false;
  /** Whether something ran that may have left promises to settle: a handler, a timer, a task. Queues say it of themselves. */
  #unsettled = false;
  #idleSinceMs = 0;
  /** Counts what was busy, to know whose turn it is. */
  #rounds = 0;
  readonly #policy: PollPolicy | undefined;
  /** Called for a task that is given while no `run` is going on: it needs a turn. */
  onTask: (() => void) | undefined;

  constructor(policy?: PollPolicy) {
    this.#policy = policy;
    this.#timers = new TimerList((fd, expired) => this.watch(fd, { readable: expired }));
  }

  /** Watches `fd` until disposed. One watch a descriptor. Throws SystemError where it cannot be watched. */
  watch(fd: number, watch: Watch): Disposable {
    const token = this.#nextToken++;
    this.#epoll.add(fd, token, (watch.readable ? EPOLLIN : 0) | (watch.writable ? EPOLLOUT : 0));
    this.#watches.set(token, watch);
    const polling = watch.pollable && this.poll(watch.pollable);
    return {
      [Symbol.dispose]: () => {
        if (!this.#watches.delete(token)) return;
        this.#epoll.remove(fd);
        polling?.[Symbol.dispose]();
      },
    };
  }

  /** Polls before it sleeps, until disposed: a source of work that has no descriptor. */
  poll(pollable: Pollable): Disposable {
    this.#pollables = [...this.#pollables, pollable];
    return {
      [Symbol.dispose]: () => {
        this.#pollables = this.#pollables.filter((other) => other !== pollable);
      },
    };
  }

  /** Calls `task` once, after `delayMs`, unless disposed before. */
  timer(delayMs: number, task: () => void): Disposable {
    return this.#timers.add(delayMs, task);
  }

  /** Runs `task` after the events at hand and before the loop sleeps. One that is waiting already is not added again. */
  soon(task: () => void): void {
    this.#tasks.add(task);
    this.onTask?.();
  }

  /** Serves on this thread until `stop`. Promises settle in it; what needs Node's own loop does not go on. */
  async run(): Promise<void> {
    this.#stopping = false;
    while (!this.#stopping) {
      this.#idleSinceMs = performance.now();
      const pollNs = this.#tasks.size > 0 || this.#pollables.length === 0 ? 0 : (this.#policy?.pollNs() ?? 0);
      if (pollNs > 0) await this.#poll(pollNs / 1e6);
      // Before it sleeps, whatever a promise leads to has to have happened: nobody would wake the loop for it.
      if (this.#unsettled) await this.#settle(this.#tasks.size === 0 || ++this.#rounds % BUSY_ROUNDS === 0);
      if (!this.#stopping) this.turn(-1);
    }
  }

  stop(): void {
    this.#stopping = true;
  }

  /** Handles what is there, waiting up to `timeoutMs` for it unless tasks are left; returns whether tasks are left afterwards. */
  turn(timeoutMs: number): boolean {
    const mayWait = timeoutMs !== 0 && this.#tasks.size === 0;
    const count = this.#epoll.wait(mayWait ? timeoutMs : 0);
    if (mayWait) this.#policy?.waited((performance.now() - this.#idleSinceMs) * 1e6, false);
    for (let i = 0; i < count; i++) this.#dispatch(i);
    if (this.#tasks.size > 0) this.#runTasks();
    return this.#tasks.size > 0;
  }

  #dispatch(event: number): void {
    const watch = this.#watches.get(this.#epoll.token(event));
    if (watch === undefined) return; // disposed of by a handler before it
    if (watch.writable !== undefined && this.#epoll.isWritable(event)) watch.writable();
    // An error is told to whichever handler there is.
    if (watch.writable === undefined || this.#epoll.isReadable(event)) (watch.readable ?? watch.writable)?.();
    if (watch.pollable?.isSettled !== true) this.#unsettled = true;
  }

  /** What they add is for the next turn. Of a task that throws, the others do not suffer: they stay. */
  #runTasks(): void {
    const due = this.#tasks;
    this.#tasks = this.#due;
    this.#due = due;
    this.#unsettled = true;
    try {
      for (const task of due) {
        due.delete(task);
        task();
      }
    } finally {
      if (due.size > 0) this.#tasks = new Set([...due, ...this.#tasks]);
      due.clear();
    }
  }

  /** Polls until there was no work for `patienceMs`, or tasks are left. What arrives while rearming is served before it returns. */
  async #poll(patienceMs: number): Promise<void> {
    for (const pollable of this.#pollables) pollable.suppress();
    while (this.#look(patienceMs) && this.#tasks.size === 0) {
      if (++this.#rounds % BUSY_ROUNDS === 0) this.turn(0);
      await this.#settle(this.#rounds % BUSY_ROUNDS === 0);
    }
    for (const pollable of this.#pollables)
      if (pollable.rearm() && pollable.poll()) this.#idleSinceMs = performance.now();
    if (this.#pollables.some(({ isSettled }) => !isSettled)) this.#unsettled = true;
  }

  /** Looks at every pollable. Returns true when tasks or promises want their turn, false when there was no work for `patienceMs`. */
  #look(patienceMs: number): boolean {
    for (let looks = 1; !this.#stopping; ) {
      if (this.#pollAll()) {
        const nowMs = performance.now();
        if (looks > 1) this.#policy?.waited((nowMs - this.#idleSinceMs) * 1e6, true);
        this.#idleSinceMs = nowMs;
        looks = 1;
        if (++this.#rounds % BUSY_ROUNDS === 0) this.turn(0);
        if (this.#unsettled || this.#tasks.size > 0) return true;
      } else if (++looks % CLOCK_LOOKS === 0) {
        if (performance.now() - this.#idleSinceMs > patienceMs) return false;
        if (looks % IDLE_LOOKS === 0) this.turn(0);
        if (this.#unsettled || this.#tasks.size > 0) return true;
      }
    }
    return false;
  }

  #pollAll(): boolean {
    let hasProgressed = false;
    for (const pollable of this.#pollables) {
      if (!pollable.poll()) continue;
      hasProgressed = true;
      if (!pollable.isSettled) this.#unsettled = true;
    }
    return hasProgressed;
  }

  /** Gives promises a step, or, `completely`, runs all that there is to run, which costs some microseconds. */
  async #settle(completely: boolean): Promise<void> {
    // Node runs every microtask, and those they lead to, before it comes to an immediate.
    if (completely) await new Promise<void>((resolve) => setImmediate(resolve));
    if (completely) this.#unsettled = false;
  }

  [Symbol.dispose](): void {
    this.#timers[Symbol.dispose]();
    this.#watches.clear();
    this.#pollables = [];
    this.#epoll[Symbol.dispose]();
  }
}
