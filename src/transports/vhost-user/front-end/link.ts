// vhost-user/front-end: a channel to a back end inside an event loop: one request at a time, whole exchanges one after the
// other.

import type { EventLoop } from '../../../sys/event-loop.ts';
import { SystemError } from '../../../sys/libc.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import type { Log } from '../../../virtio/log.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { Connection, type Outcome } from '../protocol/connection.ts';
import { encodeMessage, type Message } from '../protocol/message.ts';
import { REPLY, requestName } from '../protocol/spec.ts';
import type { Channel, OutgoingMessage } from './requests.ts';

/** An answer that takes longer is logged. The link goes on waiting, because the back end may be using guest memory. */
const SLOW_MS = 1000;

export interface LinkEvents {
  /** The back end closed the connection or broke the protocol. Not called after `dispose`. */
  onClosed(reason: Error): void;
  /** Takes each log line. */
  readonly log: Log;
}

/** The request that waits for its answer. */
interface Pending {
  readonly request: number;
  readonly answer: PromiseWithResolvers<Message>;
  readonly slowTimer: Disposable;
}

/** Sends messages over a connected socket and receives the answers on the event loop. */
export class Link implements Channel, Disposable {
  readonly #socket: UnixSocket;
  readonly #loop: EventLoop;
  readonly #events: LinkEvents;
  readonly #connection: Connection;
  #pending: Pending | undefined;
  #lastExchange: Promise<unknown> = Promise.resolve();
  #closed: Error | undefined;
  #disposed = false;

  /** @param socket a connected socket, which the link takes over. */
  constructor(socket: UnixSocket, loop: EventLoop, events: LinkEvents) {
    this.#socket = socket;
    this.#loop = loop;
    this.#events = events;
    this.#connection = new Connection(socket, loop, {
      onMessage: (message) => this.#onMessage(message),
      onClosed: (problem) => this.#onClosed(problem),
    });
  }

  /**
   * Runs `steps`, an exchange of messages, when the exchanges before it have ended. Rejects as `steps` does, or with
   * BackEndError.
   */
  exchange<T>(steps: () => Promise<T>): Promise<T> {
    const done = this.#lastExchange.then(() => {
      if (this.#closed !== undefined) throw new BackEndError('connection', 'is gone');
      return steps();
    });
    this.#lastExchange = done.catch(() => {});
    return done;
  }

  tell({ request, payload, fds, flags }: OutgoingMessage): void {
    if (this.#closed !== undefined) throw this.#closed;
    try {
      this.#socket.send(encodeMessage(request, flags ?? 0, payload ?? new Uint8Array(0)), fds);
    } catch (error) {
      // Part of the message may have been sent, so no other may follow.
      this.#connection.close(error as Error);
      const { message } = error as Error;
      throw new BackEndError(requestName(request), isDisconnect(error) ? CLOSED : `took no message (${message})`);
    }
  }

  ask(question: OutgoingMessage): Promise<Message> {
    if (this.#pending !== undefined) throw new Error('two requests at a time');
    const { request } = question;
    try {
      this.tell(question);
    } catch (error) {
      return Promise.reject(error);
    }
    const answer = Promise.withResolvers<Message>();
    this.#pending = { request, answer, slowTimer: this.#loop.timer(SLOW_MS, () => this.#logSlowAnswer(request)) };
    return answer.promise;
  }

  #onMessage(message: Message): Outcome | undefined {
    const { request, flags } = message;
    const pending = this.#pending;
    if (pending === undefined || request !== pending.request || (flags & REPLY) === 0) {
      const question = pending === undefined ? 'no question' : requestName(pending.request);
      const problem = `answered ${question} with ${requestName(request)}, flags 0x${flags.toString(16)}`;
      throw new BackEndError('connection', problem);
    }
    this.#pending = undefined;
    pending.slowTimer[Symbol.dispose]();
    pending.answer.resolve({ ...message, fds: message.fds.splice(0) });
    return undefined;
  }

  #logSlowAnswer(request: number): void {
    const what = `the back end has not answered ${requestName(request)} for ${SLOW_MS / 1000} s`;
    this.#events.log(`${what}: what depends on it waits`);
  }

  #onClosed(problem: Error | undefined): void {
    const pending = this.#pending;
    const name = pending === undefined ? 'connection' : requestName(pending.request);
    const reason = problem instanceof BackEndError ? problem : new BackEndError(name, why(problem));
    this.#closed = reason;
    this.#pending = undefined;
    pending?.slowTimer[Symbol.dispose]();
    // `onClosed` first: what awaits the answer may depend on the state that it sets.
    if (!this.#disposed) this.#events.onClosed(reason);
    pending?.answer.reject(reason);
  }

  /** Closes the connection. A pending request rejects with BackEndError. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#connection.close(undefined);
  }
}

const CLOSED = 'closed the connection';

function isDisconnect(problem: unknown): boolean {
  return problem instanceof SystemError && ['EPIPE', 'ECONNRESET'].includes(problem.code);
}

function why(problem: Error | undefined): string {
  return problem === undefined || isDisconnect(problem) ? CLOSED : `was given up (${problem.message})`;
}
