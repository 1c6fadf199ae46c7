// ports: the host's end of a vsock connection as a stream of Node's: what it does not read waits in the guest.
import { Duplex } from 'node:stream';
import type { VsockConnection, VsockEndpoint, VsockType } from '../devices/vsock/vsock-port.ts';

/** Bytes, or messages, that are read ahead. The rest waits at the device, and then in the guest. */
const STREAM_AHEAD_BYTES = 16 * 1024;
const MESSAGES_AHEAD = 16;

type Done = (error?: Error | null) => void;

/**
 * A connection with the guest. A stream carries bytes; of a seqpacket connection each chunk is one message, in both
 * directions. A write completes when the guest's ring has its bytes, for which the guest must have credit. `destroy()`
 * closes it, `destroy(error)` resets it; a reset by the guest is an error with code ECONNRESET.
 */
export class VsockSocket extends Duplex {
  readonly type: VsockType;
  /** The port of the host, and the address and port of the guest. */
  readonly hostPort: number;
  readonly guestCid: number;
  readonly guestPort: number;
  readonly #connection: VsockConnection;
  /** What is being written, and how much of it the guest has. */
  #chunk: Uint8Array | undefined;
  #sent = 0;
  #done: Done | undefined;
  #isFinal = false;
  #wantsMore = false;
  #isMessageEnd = false;
  #isOver = false;
  #isRefused = false;

  /** @param onConnected called when the guest accepts. */
  constructor(connection: VsockConnection, onConnected?: () => void) {
    const isMessages = connection.type === 'seqpacket';
    super({
      readableObjectMode: isMessages,
      writableObjectMode: isMessages,
      readableHighWaterMark: isMessages ? MESSAGES_AHEAD : STREAM_AHEAD_BYTES,
    });
    this.#connection = connection;
    this.type = connection.type;
    this.hostPort = connection.hostPort;
    this.guestCid = connection.guestCid;
    this.guestPort = connection.guestPort;
    this.#onConnected = onConnected;
  }
  readonly #onConnected: (() => void) | undefined;

  /** The end that the device uses. */
  get endpoint(): VsockEndpoint {
    const socket = this;
    return {
      connected: () => this.#onConnected?.(),
      receive: (bytes) => this.#receive(bytes),
      read: (into) => this.#fill(into),
      get isMessageEnd() {
        return socket.#isMessageEnd;
      },
      ended: () => void this.push(null),
      refused: () => this.#refuse(),
      closed: (why) => this.#closed(why),
    };
  }

  #receive(bytes: Uint8Array): number | undefined {
    if (!this.#wantsMore) return undefined;
    // A copy: it is the guest's memory.
    this.#wantsMore = this.push(bytes.slice());
    return bytes.length;
  }

  override _read(): void {
    this.#wantsMore = true;
    this.#connection.resume();
  }

  override _write(chunk: Uint8Array | string, _encoding: string, done: Done): void {
    const bytes = typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk;
    if (!(bytes instanceof Uint8Array)) return done(new TypeError('a message is a Uint8Array or a string'));
    if (this.#isOver || this.#isRefused) return done(refusal());
    if (bytes.length === 0 && this.type === 'stream') return done();
    this.#chunk = bytes;
    this.#sent = 0;
    this.#done = done;
    this.#connection.ready();
  }

  override _final(done: Done): void {
    if (this.#isOver || this.#isRefused) return done();
    this.#isFinal = true;
    this.#done = done;
    this.#connection.ready();
  }

  #fill(into: Uint8Array): number | undefined {
    this.#isMessageEnd = false;
    let filled = 0;
    while (filled < into.length && this.#chunk !== undefined && !this.#isMessageEnd) {
      const piece = this.#chunk.subarray(this.#sent, this.#sent + into.length - filled);
      into.set(piece, filled);
      filled += piece.length;
      this.#sent += piece.length;
      if (this.#sent < this.#chunk.length) continue;
      this.#chunk = undefined;
      this.#isMessageEnd = this.type === 'seqpacket';
      // May call `_write` with the next chunk.
      this.#complete();
    }
    if (filled > 0 || this.#isMessageEnd) return filled;
    if (!this.#isFinal) return undefined;
    this.#complete();
    return 0;
  }

  #complete(error?: Error): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(error);
  }

  #refuse(): void {
    this.#isRefused = true;
    const isWriting = this.#chunk !== undefined;
    this.#chunk = undefined;
    this.#complete(isWriting ? refusal() : undefined);
  }

  #closed(why: string | undefined): void {
    this.#isOver = true;
    if (why !== undefined) {
      this.destroy(Object.assign(new Error(`vsock: guest port ${this.guestPort}: ${why}`), { code: 'ECONNRESET' }));
      return;
    }
    this.#refuse();
    if (!this.writableEnded) this.end();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#isOver) {
      this.#isOver = true;
      if (error === null) this.#connection.close();
      else this.#connection.reset();
    }
    this.#chunk = undefined;
    this.#done = undefined;
    done(error);
  }
}

function refusal(): Error {
  return Object.assign(new Error('vsock: the guest receives no more'), { code: 'EPIPE' });
}
