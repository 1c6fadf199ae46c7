// Ground floor: a channel to a back end inside an event loop: one question at a time, whole conversations one after the other.

import type { EventLoop } from '../../../sys/event-loop.ts';
import { SystemError } from '../../../sys/libc.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import type { Log } from '../../../virtio/log.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { Connection, type Outcome } from '../protocol/connection.ts';
import { encodeMessage, type Message } from '../protocol/message.ts';
import { REPLY, requestName } from '../protocol/spec.ts';
import type { Channel, Question } from './requests.ts';

/** A back end that owes an answer for so long is spoken of. It is still waited for: its guest's memory is in use. */
const SILENCE_MS = 1000;

export interface LinkEvents {
  /** The back end went away, or broke the protocol. Nothing of its is used afterwards. Not told after `dispose`. */
  onClosed(reason: Error): void;
  /** One line for each thing a person should know. */
  readonly log: Log;
}

interface Asked {
  readonly request: number;
  readonly answered: PromiseWithResolvers<Message>;
  readonly silence: Disposable;
}

export class Link implements Channel, Disposable {
  readonly #socket: UnixSocket;
  readonly #loop: EventLoop;
  readonly #events: LinkEvents;
  readonly #connection: Connection;
  #asked: Asked | undefined;
  #conversation: Promise<unknown> = Promise.resolve();
  #closed: Error | undefined;
  #disposed = false;

  /** On a connected socket, which belongs to the link from now on. */
  constructor(socket: UnixSocket, loop: EventLoop, events: LinkEvents) {
    this.#socket = socket;
    this.#loop = loop;
    this.#events = events;
    this.#connection = new Connection(socket, loop, {
      onMessage: (message) => this.#onMessage(message),
      onClosed: (problem) => this.#onClosed(problem),
    });
  }

  /** Has a conversation when those before it have ended. Rejects with what it rejects with, or BackEndError. */
  converse<T>(conversation: () => Promise<T>): Promise<T> {
    const done = this.#conversation.then(() => {
      if (this.#closed !== undefined) throw new BackEndError('connection', 'is gone');
      return conversation();
    });
    this.#conversation = done.catch(() => {});
    return done;
  }

  tell({ request, payload, fds, flags }: Question): void {
    if (this.#closed !== undefined) throw this.#closed;
    try {
      this.#socket.send(encodeMessage(request, flags ?? 0, payload ?? new Uint8Array(0)), fds);
    } catch (error) {
      // Part of a message may have gone out: nothing can follow it.
      this.#connection.close(error as Error);
      const { message } = error as Error;
      throw new BackEndError(requestName(request), hasLeft(error) ? LEFT : `took no message (${message})`);
    }
  }

  ask(question: Question): Promise<Message> {
    if (this.#asked !== undefined) throw new Error('two questions at a time');
    const { request } = question;
    try {
      this.tell(question);
    } catch (error) {
      return Promise.reject(error);
    }
    const answered = Promise.withResolvers<Message>();
    this.#asked = { request, answered, silence: this.#loop.timer(SILENCE_MS, () => this.#onSilence(request)) };
    return answered.promise;
  }

  #onMessage(message: Message): Outcome | undefined {
    const { request, flags } = message;
    const asked = this.#asked;
    if (asked === undefined || request !== asked.request || (flags & REPLY) === 0) {
      const question = asked === undefined ? 'no question' : requestName(asked.request);
      const problem = `answered ${question} with ${requestName(request)}, flags 0x${flags.toString(16)}`;
      throw new BackEndError('connection', problem);
    }
    this.#asked = undefined;
    asked.silence[Symbol.dispose]();
    asked.answered.resolve({ ...message, fds: message.fds.splice(0) });
    return undefined;
  }

  #onSilence(request: number): void {
    const what = `the back end has not answered ${requestName(request)} for ${SILENCE_MS / 1000} s`;
    this.#events.log(`${what}: what depends on it waits`);
  }

  #onClosed(problem: Error | undefined): void {
    const asked = this.#asked;
    const name = asked === undefined ? 'connection' : requestName(asked.request);
    const reason = problem instanceof BackEndError ? problem : new BackEndError(name, why(problem));
    this.#closed = reason;
    this.#asked = undefined;
    asked?.silence[Symbol.dispose]();
    // First whoever has to know where the rings stand now, then whoever waits for an answer.
    if (!this.#disposed) this.#events.onClosed(reason);
    asked?.answered.reject(reason);
  }

  /** Closes the connection. What is being asked is answered with BackEndError. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#connection.close(undefined);
  }
}

const LEFT = 'closed the connection';

function hasLeft(problem: unknown): boolean {
  return problem instanceof SystemError && ['EPIPE', 'ECONNRESET'].includes(problem.code);
}

function why(problem: Error | undefined): string {
  return problem === undefined || hasLeft(problem) ? LEFT : `was given up (${problem.message})`;
}
