// vhost-user/protocol: a vhost-user socket as a sequence of whole messages. The next one is read when the last one was
// answered.
import type { EventLoop } from '../../../sys/event-loop.ts';
import { closeFd } from '../../../sys/libc.ts';
import { closeReceived } from '../../../sys/received-fd.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import { decodeHeader, encodeMessage, encodeU64, type Message } from './message.ts';
import { ProtocolError } from './protocol-error.ts';
import { HEADER_BYTES, MESSAGE_FDS_MAX, NEED_REPLY, PAYLOAD_BYTES_MAX, REPLY, requestName } from './spec.ts';

/**
 * The outcome of a message: its reply, if the message always has one; else the value of the acknowledgement (0: done),
 * if requested.
 */
export interface Outcome {
  readonly reply?: Uint8Array;
  /** A descriptor that goes with the reply. It is closed when it is sent. */
  readonly replyFd?: number;
  readonly ack?: bigint;
}

export interface ConnectionEvents {
  /**
   * Handles a message. Descriptors that it leaves in the message are closed. Throws, or rejects with, the other side's
   * mistake: it is acknowledged as an error if an acknowledgement was requested, then the connection is closed.
   */
  onMessage(message: Message): Outcome | undefined | Promise<Outcome | undefined>;
  /** The connection is closed. `problem` is undefined if the other side closed it between two messages. */
  onClosed(problem: Error | undefined): void;
}

/** Reads messages from a connected socket, which it owns, and sends the replies. */
export class Connection {
  readonly #socket: UnixSocket;
  readonly #loop: EventLoop;
  readonly #events: ConnectionEvents;
  readonly #bytes = new Uint8Array(HEADER_BYTES + PAYLOAD_BYTES_MAX);
  #received = 0;
  #fds: number[] = [];
  #watch: Disposable | undefined;
  #open = true;
  #handling = false;
  #ending = false;
  /** What is done before it is closed. */
  #last: (() => Promise<void>) | undefined;

  constructor(socket: UnixSocket, loop: EventLoop, events: ConnectionEvents) {
    this.#socket = socket;
    this.#loop = loop;
    this.#events = events;
    this.#resume();
  }

  #resume(): void {
    this.#watch ??= this.#loop.watch(this.#socket.fd, { readable: () => this.#onReadable() });
  }

  #pause(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  #onReadable(): void {
    try {
      const message = this.#receive();
      if (message !== undefined) this.#handle(message);
    } catch (error) {
      this.close(error as Error);
    }
  }

  /**
   * Reads what is there; returns a whole message or undefined. Never reads into the next message, whose descriptors
   * would come along.
   */
  #receive(): Message | undefined {
    for (;;) {
      const { request, flags, size } =
        this.#received < HEADER_BYTES ? { request: 0, flags: 0, size: 0 } : this.#header();
      const wanted = HEADER_BYTES + size;
      if (this.#received >= HEADER_BYTES && this.#received === wanted) {
        const payload = new DataView(this.#bytes.slice(HEADER_BYTES, wanted).buffer);
        const fds = this.#fds;
        this.#fds = [];
        this.#received = 0;
        return { request, flags, payload, fds };
      }
      const count = this.#socket.receive(this.#bytes.subarray(this.#received, wanted), this.#fds);
      if (count === undefined) return undefined;
      if (count === 0) {
        if (this.#received === 0) this.close(undefined);
        else throw new ProtocolError('connection', `closed after ${this.#received} bytes of a message`);
        return undefined;
      }
      this.#received += count;
      if (this.#fds.length > MESSAGE_FDS_MAX)
        throw new ProtocolError(
          'connection',
          `${this.#fds.length} descriptors with a message of at most ${MESSAGE_FDS_MAX}`,
        );
    }
  }

  #header(): { request: number; flags: number; size: number } {
    return decodeHeader(new DataView(this.#bytes.buffer, 0, HEADER_BYTES));
  }

  /** Sends a synchronous outcome at once: the next message may have arrived already. */
  #handle(message: Message): void {
    this.#handling = true;
    try {
      const outcome = this.#events.onMessage(message);
      if (!(outcome instanceof Promise)) return this.#handled(message, outcome);
      this.#pause();
      outcome.then(
        (late) => this.#handled(message, late),
        (problem: Error) => this.#handled(message, undefined, problem),
      );
    } catch (problem) {
      this.#handled(message, undefined, problem as Error);
    }
  }

  #handled(message: Message, outcome: Outcome | undefined, problem?: Error): void {
    this.#handling = false;
    for (const fd of message.fds) closeReceived(fd);
    this.#answer(message, outcome ?? {}, problem);
    if (problem === undefined && this.#last !== undefined) return this.#closeAfterLast(this.#last);
    if (problem !== undefined || this.#ending) this.close(problem);
    if (this.#open) this.#resume();
  }

  #answer(message: Message, outcome: Outcome, problem: Error | undefined): void {
    if (this.#open) this.#send(message, outcome, problem);
    if (outcome.replyFd !== undefined) closeFd(outcome.replyFd);
  }

  #send({ request, flags }: Message, { reply, replyFd, ack }: Outcome, problem: Error | undefined): void {
    const payload = reply ?? ((flags & NEED_REPLY) !== 0 ? encodeU64(ack ?? (problem ? 1n : 0n)) : undefined);
    if (payload === undefined) return;
    try {
      this.#socket.send(encodeMessage(request, REPLY, payload), replyFd === undefined ? [] : [replyFd]);
    } catch (error) {
      const cause = (error as Error).message;
      this.close(new ProtocolError(requestName(request), `the front end does not take the answer: ${cause}`));
    }
  }

  /** Closes the connection when the current message is handled and then `last` has settled. No further message is read. */
  closeAfter(last: () => Promise<void>): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#last = last;
    if (!this.#handling) this.#closeAfterLast(last);
  }

  #closeAfterLast(last: () => Promise<void>): void {
    this.#pause();
    this.#last = undefined;
    this.#handling = true;
    const close = (problem?: Error): void => {
      this.#handling = false;
      this.close(problem);
    };
    last().then(() => close(), close);
  }

  /** Closes the connection when the current message is handled. Further calls do nothing. */
  close(problem: Error | undefined): void {
    this.#ending = true;
    if (!this.#open || this.#handling) return;
    this.#open = false;
    this.#pause();
    for (const fd of this.#fds) closeReceived(fd);
    this.#socket[Symbol.dispose]();
    this.#events.onClosed(problem);
  }
}
