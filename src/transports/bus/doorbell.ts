// bus: the doorbell of one queue: an eventfd that the kernel signals for the guest (ioeventfd), or this
// process does.
//
// From construction to `close` every kick of the guest reaches the eventfd: through the kernel, or, where it refused
// the ioeventfd, through a write that causes an exit and arrives here as `ring`. A count left at `close` needs no
// handling: its request is in the ring, and the next host checks the ring first (`QueueHost.start`).
// bus/doorbell.test.ts and model/doorbell.pml walk every order of events.
import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';

/** What a doorbell needs of its transport. */
export interface DoorbellLines {
  /**
   * Makes writes to the doorbell signal the eventfd, until disposed. Throws SystemError if the kernel refuses; so may
   * disposing.
   */
  assign(eventFd: EventFd): Disposable;
  /** A kick that came after `close`, through an ioeventfd that the kernel would not remove. */
  lateRing(): void;
  /** Logs a line. */
  log(line: string): void;
}

/** One queue's doorbell. The constructor opens it; `close` may follow when nothing watches it. */
export class Doorbell {
  readonly #eventFd = EventFd.create();
  readonly #loop: EventLoop;
  readonly #lines: DoorbellLines;
  readonly #assigned: Disposable | undefined;

  /** Throws SystemError when no eventfd can be created. */
  constructor(loop: EventLoop, lines: DoorbellLines) {
    this.#loop = loop;
    this.#lines = lines;
    this.#assigned = this.#assign();
  }

  /** The descriptor that the queue's host watches. */
  get fd(): number {
    return this.#eventFd.fd;
  }

  #assign(): Disposable | undefined {
    try {
      return this.#lines.assign(this.#eventFd);
    } catch (problem) {
      this.#lines.log(`kicks take the slow path, out of the guest: ${(problem as Error).message}`);
      return undefined;
    }
  }

  /** Signals the eventfd, for a write to the doorbell that caused an exit. */
  ring(): void {
    this.#eventFd.signal();
  }

  /** Removes the ioeventfd and closes the eventfd, which nothing may watch any more. */
  close(): void {
    try {
      this.#assigned?.[Symbol.dispose]();
      this.#eventFd[Symbol.dispose]();
    } catch (problem) {
      this.#lines.log(`the kernel goes on ringing a doorbell that was given back: ${(problem as Error).message}`);
      this.#keep();
    }
  }

  /**
   * Keeps the eventfd, which the kernel goes on signalling until the process ends, and passes its kicks to `lateRing`.
   */
  #keep(): void {
    const readable = (): void => {
      if (this.#eventFd.clear()) this.#lines.lateRing();
    };
    this.#loop.watch(this.#eventFd.fd, { readable });
  }
}
