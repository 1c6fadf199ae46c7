// Ground floor: a front end that comes while another one is served: it waits, its user is told, and a dead one makes room for it.
import type { EventLoop } from '../../../sys/event-loop.ts';
import { closeFd } from '../../../sys/libc.ts';
import type { UnixListener, UnixSocket } from '../../../sys/unix-socket.ts';

/** One that waits longer than this is told of: the one before it is not just leaving. */
const WAITS_MS = 1000;

export interface WaitingEvents {
  /** Another one has waited for a second; the one that is served has been connected for `seconds`. */
  waits(seconds: number): void;
  /** Another one waits, and the process that connected has exited: whoever holds its end of the connection will not close it. */
  peerGone(): void;
}

export class WaitingFrontEnd implements Disposable {
  readonly #loop: EventLoop;
  readonly #events: WaitingEvents;
  readonly #startedMs = performance.now();
  readonly #peer: number | undefined;
  #next: Disposable;

  /** @param served the connection of the one that is served. */
  constructor(listener: UnixListener, served: UnixSocket, loop: EventLoop, events: WaitingEvents) {
    this.#loop = loop;
    this.#events = events;
    this.#peer = served.peerPidFd();
    this.#next = loop.watch(listener.fd, { readable: () => this.#then(loop.timer(WAITS_MS, () => this.#waits())) });
  }

  #then(next: Disposable): void {
    this.#next[Symbol.dispose]();
    this.#next = next;
  }

  #waits(): void {
    this.#events.waits(Math.round((performance.now() - this.#startedMs) / 1000));
    if (this.#peer !== undefined) this.#then(this.#loop.watch(this.#peer, { readable: () => this.#events.peerGone() }));
  }

  [Symbol.dispose](): void {
    this.#next[Symbol.dispose]();
    if (this.#peer !== undefined) closeFd(this.#peer);
  }
}
