// sys: one epoll set a thread: descriptors, timers, tasks, and polling before it sleeps. Lets promises settle.
import { EPOLLIN, EPOLLOUT } from './constants.ts';
import { Epoll } from './epoll.ts';
import type { Pollable, PollPolicy } from './pollable.ts';
import { TimerList } from './timer-list.ts';

/** While polling finds work, descriptors and promises are served once in so many rounds. */
const BUSY_ROUNDS = 16;
/** And whenever so much time has passed: a round of large requests is long. */
const BUSY_MS = 2;
/** While polling finds no work, descriptors are served once in so many looks, and the clock is read once in so many. */
const IDLE_LOOKS = 512;
const CLOCK_LOOKS = 16;

/** What a task works for: it knows whether it left promises. */
type TaskSource = Pick<Pollable, 'isSettled'>;

/** The handlers of a descriptor, and what to poll before the loop sleeps on it. */
export interface Watch {
  /** Called while the descriptor is readable, has hung up or failed. */
  readonly readable?: () => void;
  /** Called while the descriptor is writable. */
  readonly writable?: () => void;
  /** Polled before the loop sleeps. */
  readonly pollable?: Pollable;
}

/**
 * The event loop of one thread: watches descriptors, fires timers, runs tasks, and polls before it sleeps if `policy`
 * says so. An exception of a handler or task ends `run` or `turn`; the loop can be run again.
 */
export class EventLoop implements Disposable {
  readonly #epoll = new Epoll();
  /** The epoll set's own descriptor, readable when `turn` has something to do: another loop can watch it. */
  readonly fd = this.#epoll.fd;
  readonly #watches = new Map<number, Watch>();
  readonly #timers: TimerList;
  #pollables: readonly Pollable[] = [];
  /** With what each one works for, which knows whether it left promises. */
  #tasks = new Map<() => void, TaskSource | undefined>();
  #due = new Map<() => void, TaskSource | undefined>();
  #nextToken = 1;
  #stopping = false;
  /**
   * Whether a handler, a timer or a task ran, which may have left promises to settle. Pollables report this in
   * `isSettled`.
   */
  #unsettled = false;
  #idleSinceMs = 0;
  /** When polling served descriptors last. */
  #turnMs = 0;
  /** Rounds that found work. Every BUSY_ROUNDS of them the loop serves descriptors and promises. */
  #rounds = 0;
  readonly #policy: PollPolicy | undefined;
  /** Called when a task is added, so that an outer loop can schedule a `turn`. */
  onTask: (() => void) | undefined;

  constructor(policy?: PollPolicy) {
    this.#policy = policy;
    this.#timers = new TimerList((fd, expired) => this.watch(fd, { readable: expired }));
  }

  /** Watches `fd` until disposed. A descriptor can have one watch. Throws SystemError where it cannot be watched. */
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

  /** Polls `pollable` before the loop sleeps, until disposed: for a source of work that has no descriptor. */
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

  /**
   * Runs `task` after the current events and before the loop sleeps. A task that is already pending is not added again.
   * @param source reports in `isSettled` whether the task left a promise. Absent: it may have.
   */
  soon(task: () => void, source?: TaskSource): void {
    this.#tasks.set(task, source);
    this.onTask?.();
  }

  /**
   * Runs the loop on this thread until `stop`. Promises settle meanwhile; Node's own loop (its timers and streams) does
   * not run.
   */
  async run(): Promise<void> {
    this.#stopping = false;
    while (!this.#stopping) {
      this.#idleSinceMs = performance.now();
      const mayPoll = this.#tasks.size === 0 && this.#pollables.length > 0 && !this.#awaitsKernel();
      const pollNs = mayPoll ? (this.#policy?.pollNs() ?? 0) : 0;
      if (pollNs > 0) await this.#poll(pollNs / 1e6);
      // All promises have to settle before the loop sleeps: a promise does not wake it.
      if (this.#unsettled) await this.#settle(this.#tasks.size === 0 || ++this.#rounds % BUSY_ROUNDS === 0);
      if (!this.#stopping) this.turn(-1);
    }
  }

  /** Makes `run` return after the current turn. */
  stop(): void {
    this.#stopping = true;
  }

  /**
   * Handles the events that are ready and runs the pending tasks. Without tasks it waits up to `timeoutMs` (-1: for
   * ever) for an event. Returns whether tasks are left afterwards.
   */
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
    if (watch === undefined) return; // disposed by an earlier handler
    if (watch.writable !== undefined && this.#epoll.isWritable(event)) watch.writable();
    // An error or a hang-up is reported to `writable` where there is no `readable`.
    if (watch.writable === undefined || this.#epoll.isReadable(event)) (watch.readable ?? watch.writable)?.();
    if (watch.pollable?.isSettled !== true) this.#unsettled = true;
  }

  /** Tasks that are added meanwhile run in the next turn. If one throws, the remaining ones stay pending. */
  #runTasks(): void {
    const due = this.#tasks;
    this.#tasks = this.#due;
    this.#due = due;
    try {
      for (const [task, source] of due) {
        due.delete(task);
        task();
        if (source?.isSettled !== true) this.#unsettled = true;
      }
    } finally {
      if (due.size > 0) {
        this.#tasks = new Map([...due, ...this.#tasks]);
        this.#unsettled = true;
      }
      due.clear();
    }
  }

  /**
   * Polls until there was no work for `idleLimitMs`, or tasks are left. Work that arrives while rearming is served
   * before it returns.
   */
  async #poll(idleLimitMs: number): Promise<void> {
    for (const pollable of this.#pollables) pollable.suppress();
    this.#turnMs = this.#idleSinceMs;
    while (this.#pollUntilIdle(idleLimitMs) && this.#tasks.size === 0) {
      if (++this.#rounds % BUSY_ROUNDS === 0) this.turn(0);
      await this.#settle(this.#rounds % BUSY_ROUNDS === 0);
    }
    for (const pollable of this.#pollables)
      if (pollable.rearm() && pollable.poll()) this.#idleSinceMs = performance.now();
    if (this.#pollables.some(({ isSettled }) => !isSettled)) this.#unsettled = true;
  }

  /**
   * Polls every pollable in turn. Returns true when tasks or promises have to run, false when there was no work for
   * `idleLimitMs`.
   */
  #pollUntilIdle(idleLimitMs: number): boolean {
    for (let looks = 1; !this.#stopping; ) {
      if (this.#pollAll()) {
        const nowMs = performance.now();
        if (looks > 1) this.#policy?.waited((nowMs - this.#idleSinceMs) * 1e6, true);
        this.#idleSinceMs = nowMs;
        looks = 1;
        if (++this.#rounds % BUSY_ROUNDS === 0 || nowMs - this.#turnMs > BUSY_MS) {
          this.turn(0);
          this.#turnMs = nowMs;
        }
        if (this.#unsettled || this.#tasks.size > 0) return true;
      } else if (this.#awaitsKernel()) {
        return false;
      } else if (++looks % CLOCK_LOOKS === 0) {
        if (performance.now() - this.#idleSinceMs > idleLimitMs) return false;
        if (looks % IDLE_LOOKS === 0) this.turn(0);
        if (this.#unsettled || this.#tasks.size > 0) return true;
      }
    }
    return false;
  }

  #awaitsKernel(): boolean {
    for (const pollable of this.#pollables) if (pollable.awaitsKernel === true) return true;
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

  /** Runs one step of the pending promises or, `completely`, all of their steps, which costs some microseconds. */
  async #settle(completely: boolean): Promise<void> {
    // Node runs every microtask, and those that they add, before it runs an immediate.
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
