// Ground floor: an eventfd behind a queue's doorbell: what the host notifier registers, rings and closes.
import type { Registration } from '../../notify/host-notifier.ts';
import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';

export class KickLine implements Registration {
  readonly eventFd = EventFd.create();
  readonly #loop: EventLoop;
  readonly #assign: (eventFd: EventFd) => Disposable;
  readonly #kick: () => void;
  #assigned: Disposable | undefined;

  /** `assign` puts an eventfd behind the doorbell; it throws where the kernel will not. Throws SystemError when there is no eventfd. */
  constructor(loop: EventLoop, assign: (eventFd: EventFd) => Disposable, kick: () => void) {
    this.#loop = loop;
    this.#assign = assign;
    this.#kick = kick;
  }

  register(): string | undefined {
    try {
      this.#assigned = this.#assign(this.eventFd);
      return undefined;
    } catch (problem) {
      return (problem as Error).message;
    }
  }

  unregister(): string | undefined {
    try {
      this.#assigned?.[Symbol.dispose]();
      this.#assigned = undefined;
      return undefined;
    } catch (problem) {
      return (problem as Error).message;
    }
  }

  ring(): void {
    this.eventFd.signal();
  }

  drain(): void {
    this.eventFd.clear();
  }

  close(): void {
    this.eventFd[Symbol.dispose]();
  }

  keep(): void {
    // For as long as the process lives: the kernel rings it, and it cannot be told not to.
    this.#loop.watch(this.eventFd.fd, {
      readable: () => {
        if (this.eventFd.clear()) this.#kick();
      },
    });
  }
}
