// vhost-user/front-end: a channel to a back end that blocks its thread for each answer, within a time limit.
import { Epoll } from '../../../sys/epoll.ts';
import { SystemError } from '../../../sys/libc.ts';
import { closeReceived } from '../../../sys/received-fd.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { decodeHeader, encodeMessage, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { HEADER_BYTES, REPLY, requestName } from '../protocol/spec.ts';
import type { Channel, OutgoingMessage } from './requests.ts';

const NO_PAYLOAD = new Uint8Array(0);

/** Sends messages and blocks the thread until each answer. Owns the socket. */
export class BlockingChannel implements Channel, Disposable {
  readonly #socket: UnixSocket;
  readonly #epoll = new Epoll();
  readonly #timeoutMs: number;

  /** @param timeoutMs limit for each part of an answer. */
  constructor(socket: UnixSocket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#epoll.add(socket.fd, 0);
  }

  tell({ request, payload = NO_PAYLOAD, fds = [], flags = 0 }: OutgoingMessage): void {
    try {
      this.#socket.send(encodeMessage(request, flags, payload), fds);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      const gone = error.code === 'EPIPE' || error.code === 'ECONNRESET';
      throw new BackEndError(
        requestName(request),
        gone ? 'closed the connection' : `took no message (${error.message})`,
      );
    }
  }

  ask(question: OutgoingMessage): Message {
    this.tell(question);
    return this.receiveReply(question.request);
  }

  /**
   * Waits for the answer to `request`. Throws BackEndError: no answer in time, another message, or the connection was
   * closed.
   */
  receiveReply(request: number): Message {
    const name = requestName(request);
    const fds: number[] = [];
    try {
      const header = parseHeader(new DataView(this.#receive(HEADER_BYTES, name, fds)), name);
      const payload = new DataView(this.#receive(header.size, name, fds));
      if (header.request === request && (header.flags & REPLY) !== 0)
        return { request, flags: header.flags, payload, fds };
      throw new BackEndError(
        name,
        `answered with ${requestName(header.request)}, flags 0x${header.flags.toString(16)}`,
      );
    } catch (error) {
      for (const fd of fds) closeReceived(fd);
      throw error;
    }
  }

  #receive(sizeBytes: number, name: string, fds: number[]): ArrayBuffer {
    const bytes = new Uint8Array(sizeBytes);
    const deadlineMs = performance.now() + this.#timeoutMs;
    for (let done = 0; done < sizeBytes; ) {
      const received = this.#receiveSome(bytes.subarray(done), name, fds);
      if (received === 0) throw new BackEndError(name, 'closed the connection');
      done += received ?? 0;
      if (received !== undefined) continue;
      const leftMs = Math.ceil(deadlineMs - performance.now());
      if (leftMs <= 0) throw new BackEndError(name, `gave no answer in ${this.#timeoutMs} ms`);
      this.#epoll.wait(leftMs);
    }
    return bytes.buffer;
  }

  #receiveSome(into: Uint8Array, name: string, fds: number[]): number | undefined {
    try {
      return this.#socket.receive(into, fds);
    } catch (error) {
      if (error instanceof SystemError && error.code === 'ECONNRESET')
        throw new BackEndError(name, 'closed the connection');
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
    this.#socket[Symbol.dispose]();
  }
}

function parseHeader(view: DataView, name: string): ReturnType<typeof decodeHeader> {
  try {
    return decodeHeader(view);
  } catch (error) {
    if (error instanceof ProtocolError) throw new BackEndError(name, `answered nonsense (${error.message})`);
    throw error;
  }
}
