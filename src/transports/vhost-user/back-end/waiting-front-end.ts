// vhost-user/back-end: detects a front end that waits while another is served, and a served one whose process has exited.
import type { EventLoop } from '../../../sys/event-loop.ts';
import { closeFd } from '../../../sys/libc.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';

/** Waiting longer than this is reported: the served front end is not just disconnecting. */
const WAITS_MS = 1000;

export interface WaitingEvents {
  /** Another front end has waited for a second; the served one has been connected for `seconds`. */
  waits(seconds: number): void;
  /**
   * Another front end waits, and the process that connected has exited, but another process keeps its end of the
   * connection open.
   */
  peerGone(): void;
}

/** Watches the listener and the served front end's process, until disposed. */
export class WaitingFrontEnd implements Disposable {
  readonly #loop: EventLoop;
  readonly #events: WaitingEvents;
  readonly #startedMs = performance.now();
  readonly #peer: number | undefined;
  #next: Disposable;

  /** @param served the connection of the served front end. */
  constructor(listener: { readonly fd: number }, served: UnixSocket, loop: EventLoop, events: WaitingEvents) {
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
