// Ground floor: carries a front end's dialogues over a socket inside an event loop: one after the other, and nobody blocks.
import type { EventLoop } from '../../../sys/event-loop.ts';
import { closeFd, SystemError } from '../../../sys/libc.ts';
import { TimerFd } from '../../../sys/timer-fd.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { Connection } from '../protocol/connection.ts';
import { encodeMessage, type Message } from '../protocol/message.ts';
import { REPLY, requestName } from '../protocol/spec.ts';
import type { Dialogue, Utterance } from './front-end-dialogue.ts';

/** A back end that owes an answer for so long is spoken of. It is still waited for: its guest's memory is in use. */
const SILENCE_MS = 1000;

export interface LinkEvents {
  /** The back end went away, or broke the protocol. Nothing of its is used afterwards. Not told after `dispose`. */
  onClosed(reason: Error): void;
  /** One line for each thing a person should know. */
  log(line: string): void;
}

/** How a dialogue ended. */
export type Carried<T> = (problem: Error | undefined, value?: T) => void;

interface Carrying {
  readonly dialogue: Dialogue<unknown>;
  readonly done: Carried<unknown>;
}

export class BackEndLink implements Disposable {
  readonly #socket: UnixSocket;
  readonly #events: LinkEvents;
  readonly #connection: Connection;
  readonly #silence = new TimerFd();
  readonly #watch: Disposable;
  readonly #waiting: Carrying[] = [];
  #current: Carrying | undefined;
  #asked: number | undefined;
  #closed = false;
  #disposed = false;

  /** On a connected socket, which belongs to the link from now on. */
  constructor(socket: UnixSocket, loop: EventLoop, events: LinkEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#watch = loop.watch(this.#silence.fd, { readable: () => this.#onSilence() });
    this.#connection = new Connection(socket, loop, {
      onMessage: (message, done) => this.#onMessage(message, done),
      onClosed: (problem) => this.#onClosed(problem),
    });
  }

  /** Carries a dialogue when those before it have ended. */
  carry<T>(dialogue: Dialogue<T>, done: Carried<T>): void {
    this.#waiting.push({ dialogue, done: done as Carried<unknown> });
    this.#begin();
  }

  #begin(): void {
    while (this.#current === undefined) {
      this.#current = this.#waiting.shift();
      if (this.#current === undefined) return;
      if (this.#closed) this.#end(new BackEndError('connection', 'is gone'));
      else this.#advance(this.#current, undefined);
    }
  }

  /** Goes on to the next question, or to the end. */
  #advance(carrying: Carrying, answer: Message | undefined): void {
    const { dialogue } = carrying;
    try {
      for (let step = dialogue.next(answer); ; step = dialogue.next(undefined)) {
        if (step.done === true) return this.#end(undefined, step.value);
        this.#send(step.value);
        if (step.value.isQuestion) return;
      }
    } catch (error) {
      // If the connection broke over it, it has ended.
      if (this.#current === carrying) this.#end(error as Error);
    }
  }

  #send({ request, payload, fds, flags, isQuestion }: Utterance): void {
    try {
      this.#socket.send(encodeMessage(request, flags ?? 0, payload ?? new Uint8Array(0)), fds);
    } catch (error) {
      // Part of a message may have gone out: nothing can follow it.
      this.#connection.close(error as Error);
      throw new BackEndError(requestName(request), `took no message (${(error as Error).message})`);
    }
    if (!isQuestion) return;
    this.#asked = request;
    this.#silence.set(SILENCE_MS);
  }

  #onMessage(message: Message, done: (outcome: object) => void): void {
    const { request, flags } = message;
    if (request !== this.#asked || (flags & REPLY) === 0 || this.#current === undefined) {
      const asked = this.#asked === undefined ? 'no question' : requestName(this.#asked);
      const problem = `answered ${asked} with ${requestName(request)}, flags 0x${flags.toString(16)}`;
      return done({ problem: new BackEndError('connection', problem) });
    }
    this.#asked = undefined;
    this.#silence.set(0);
    const answer = { ...message, fds: message.fds.splice(0) };
    done({});
    this.#advance(this.#current, answer);
    for (const fd of answer.fds) closeFd(fd);
    this.#begin();
  }

  #end(problem: Error | undefined, value?: unknown): void {
    const { done } = this.#current as Carrying;
    this.#current = undefined;
    this.#asked = undefined;
    done(problem, value);
  }

  #onSilence(): void {
    this.#silence.expirations();
    if (this.#asked === undefined) return;
    this.#events.log(
      `the back end has not answered ${requestName(this.#asked)} for ${SILENCE_MS / 1000} s: what depends on it waits`,
    );
  }

  #onClosed(problem: Error | undefined): void {
    this.#closed = true;
    this.#watch[Symbol.dispose]();
    this.#silence[Symbol.dispose]();
    const name = this.#asked === undefined ? 'connection' : requestName(this.#asked);
    const reason = problem instanceof BackEndError ? problem : new BackEndError(name, why(problem));
    // First the one who has to know where the rings stand now, then those who waited for an answer.
    if (!this.#disposed) this.#events.onClosed(reason);
    if (this.#current !== undefined) this.#end(reason);
    this.#begin();
  }

  /** Closes the connection. What is being carried ends with a problem. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#connection.close(undefined);
  }
}

function why(problem: Error | undefined): string {
  const hasLeft = problem instanceof SystemError && ['EPIPE', 'ECONNRESET'].includes(problem.code);
  return problem === undefined || hasLeft ? 'closed the connection' : `was given up (${problem.message})`;
}
