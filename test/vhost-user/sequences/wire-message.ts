// test/vhost-user/sequences: whole messages off a socket and onto one, with their descriptors.
import { SystemError } from '../../../src/sys/libc.ts';
import type { UnixSocket } from '../../../src/sys/unix-socket.ts';

const HEADER_BYTES = 12;

/** Header and payload; the receiver owns the descriptors. */
export interface WireMessage {
  readonly request: number;
  readonly flags: number;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly fds: readonly number[];
}

export class MessageReader implements Disposable {
  readonly #socket: UnixSocket;
  #bytes = new Uint8Array(HEADER_BYTES);
  #received = 0;
  #fds: number[] = [];
  /** The other side has closed the connection. */
  isClosed = false;

  constructor(socket: UnixSocket) {
    this.#socket = socket;
  }

  /** Every message that is whole now. */
  *messages(): Generator<WireMessage> {
    while (!this.isClosed) {
      if (this.#received === this.#bytes.length) {
        const whole = this.#grown();
        if (whole !== undefined) yield whole;
      }
      if (!this.#receiveSome()) return;
    }
  }

  /** Makes room for the payload when the header is there; gives the message when all is. */
  #grown(): WireMessage | undefined {
    const view = new DataView(this.#bytes.buffer);
    const wanted = HEADER_BYTES + view.getUint32(8, true);
    if (this.#received < wanted) {
      const grown = new Uint8Array(wanted);
      grown.set(this.#bytes);
      this.#bytes = grown;
      return undefined;
    }
    const payload = this.#bytes.slice(HEADER_BYTES);
    const message = { request: view.getUint32(0, true), flags: view.getUint32(4, true), payload, fds: this.#fds };
    this.#bytes = new Uint8Array(HEADER_BYTES);
    this.#received = 0;
    this.#fds = [];
    return message;
  }

  /** Never reads into the next message, whose descriptors would come with it. */
  #receiveSome(): boolean {
    const count = this.#receive(this.#bytes.subarray(this.#received));
    if (count === undefined) return false;
    if (count === 0) this.isClosed = true;
    this.#received += count;
    return true;
  }

  #receive(into: Uint8Array): number | undefined {
    try {
      return this.#socket.receive(into, this.#fds);
    } catch (error) {
      if (error instanceof SystemError && error.code === 'ECONNRESET') return 0;
      throw error;
    }
  }

  /** The descriptors stay the caller's. A peer that is gone is found when it is read. */
  send({ request, flags, payload, fds }: WireMessage): void {
    const bytes = new Uint8Array(HEADER_BYTES + payload.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, request, true);
    view.setUint32(4, flags, true);
    view.setUint32(8, payload.length, true);
    bytes.set(payload, HEADER_BYTES);
    try {
      this.#socket.send(bytes, fds);
    } catch (error) {
      if (!(error instanceof SystemError && ['EPIPE', 'ECONNRESET'].includes(error.code))) throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
