// Ground floor: the doorbell of one queue: an eventfd that the kernel rings for the guest, or that we ring where the kernel will not.
//
// From `open` to `close` every ring of the guest ends in the eventfd: through the kernel (ioeventfd), or, where that refused it, through a
// write that left the guest and comes here as `ring`. What is counted when it closes needs no handling: its request is in the ring of the
// queue, and whatever runs the queue next looks there first (`QueueHost.start`). bus/doorbell.test.ts walks every
// order of events, and so does model/doorbell.pml.
import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';

/** What a doorbell needs of its transport. */
export interface DoorbellLines {
  /** Has a write to the doorbell ring the eventfd, until disposed. Throws SystemError where the kernel will not; disposing may too. */
  assign(eventFd: EventFd): Disposable;
  /** A write to the doorbell that reached us after the queue was closed, through an eventfd the kernel would not give back. */
  lateRing(): void;
  /** Tells the user one line. */
  say(line: string): void;
}

export class Doorbell {
  readonly #eventFd = EventFd.create();
  readonly #loop: EventLoop;
  readonly #lines: DoorbellLines;
  readonly #assigned: Disposable | undefined;

  /** Opens it. Throws SystemError when there is no eventfd left. */
  constructor(loop: EventLoop, lines: DoorbellLines) {
    this.#loop = loop;
    this.#lines = lines;
    this.#assigned = this.#assign();
  }

  /** For whatever runs the queue to watch. */
  get fd(): number {
    return this.#eventFd.fd;
  }

  #assign(): Disposable | undefined {
    try {
      return this.#lines.assign(this.#eventFd);
    } catch (problem) {
      this.#lines.say(`kicks take the slow path, out of the guest: ${(problem as Error).message}`);
      return undefined;
    }
  }

  /** A write to the doorbell that left the guest. */
  ring(): void {
    this.#eventFd.signal();
  }

  /** Nothing watches it any more. */
  close(): void {
    try {
      this.#assigned?.[Symbol.dispose]();
      this.#eventFd[Symbol.dispose]();
    } catch (problem) {
      this.#lines.say(`the kernel goes on ringing a doorbell that was given back: ${(problem as Error).message}`);
      this.#keep();
    }
  }

  /** For as long as the process lives the kernel rings it, and cannot be told not to: from now on its rings come here. */
  #keep(): void {
    const readable = (): void => {
      if (this.#eventFd.clear()) this.#lines.lateRing();
    };
    this.#loop.watch(this.#eventFd.fd, { readable });
  }
}
