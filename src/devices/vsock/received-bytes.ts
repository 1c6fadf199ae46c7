// virtio-vsock: bytes or messages of the guest on their way to an endpoint: passed on at once, else kept in order.
import type { Segments } from '../../virtio/segments.ts';
import { ByteQueue } from './byte-queue.ts';
import type { VsockEndpoint } from './vsock-port.ts';

const LENGTH_BYTES = 4;

/** What an endpoint has not taken yet. The caller bounds the bytes (its credit); messages are bounded here. */
export class ReceivedBytes {
  readonly #isMessages: boolean;
  readonly #messagesMax: number;
  readonly #bytes = new ByteQueue();
  /** Of messages that are complete: a length each. */
  readonly #lengths = new ByteQueue();
  readonly #length = new DataView(new ArrayBuffer(LENGTH_BYTES));
  readonly #lengthBytes = new Uint8Array(this.#length.buffer);
  /** Bytes of the message that is not complete. */
  #partial = 0;
  #isBusy = false;
  #isAgain = false;

  /** @param messagesMax messages that wait at most: empty ones cost no credit. */
  constructor(isMessages: boolean, messagesMax: number) {
    this.#isMessages = isMessages;
    this.#messagesMax = messagesMax;
  }

  /** Whether the endpoint has taken everything that it can have. */
  get isDrained(): boolean {
    return this.#isMessages ? this.#lengths.length === 0 : this.#bytes.length === 0;
  }

  /** Adds bytes [from, to) of a packet. Returns how many bytes were taken, undefined where there are too many messages. */
  add(packet: Segments, from: number, to: number, isEnd: boolean, endpoint: VsockEndpoint): number | undefined {
    if (this.#isMessages) return this.#addMessage(packet, from, to, isEnd, endpoint);
    let taken = 0;
    for (let at = from; at < to; ) {
      const piece = packet.piece(at, to);
      at += piece.length;
      const count = this.#bytes.length > 0 || this.#isBusy ? 0 : this.#offer(piece, endpoint);
      taken += count;
      if (count < piece.length) this.#bytes.push(count === 0 ? piece : piece.subarray(count));
    }
    return taken;
  }

  #offer(piece: Uint8Array, endpoint: VsockEndpoint): number {
    this.#isBusy = true;
    try {
      return Math.min(Math.max(endpoint.receive(piece) ?? 0, 0), piece.length);
    } finally {
      this.#isBusy = false;
    }
  }

  #addMessage(packet: Segments, from: number, to: number, isEnd: boolean, endpoint: VsockEndpoint): number | undefined {
    for (let at = from; at < to; ) {
      const piece = packet.piece(at, to);
      this.#bytes.push(piece);
      at += piece.length;
    }
    this.#partial += to - from;
    if (!isEnd) return 0;
    if (this.#lengths.length / LENGTH_BYTES >= this.#messagesMax) return undefined;
    this.#length.setUint32(0, this.#partial);
    this.#lengths.push(this.#lengthBytes);
    this.#partial = 0;
    return this.pump(endpoint);
  }

  /** Passes on what waits, as far as the endpoint takes it. Returns how many bytes that were. */
  pump(endpoint: VsockEndpoint): number {
    this.#isAgain = true;
    if (this.#isBusy) return 0;
    this.#isBusy = true;
    let taken = 0;
    try {
      while (this.#isAgain) {
        this.#isAgain = false;
        taken += this.#isMessages ? this.#pumpMessages(endpoint) : this.#pumpStream(endpoint);
      }
    } finally {
      this.#isBusy = false;
    }
    return taken;
  }

  #pumpStream(endpoint: VsockEndpoint): number {
    let taken = 0;
    while (this.#bytes.length > 0) {
      const piece = this.#bytes.front();
      const wanted = piece.length;
      const count = Math.min(Math.max(endpoint.receive(piece) ?? 0, 0), wanted);
      this.#bytes.drop(count);
      taken += count;
      if (count < wanted) break;
    }
    return taken;
  }

  #pumpMessages(endpoint: VsockEndpoint): number {
    let taken = 0;
    while (this.#lengths.length > 0) {
      this.#lengths.copyTo(this.#lengthBytes);
      const length = this.#length.getUint32(0);
      let message = this.#bytes.front(length);
      if (message.length < length) {
        message = new Uint8Array(length);
        this.#bytes.copyTo(message);
      }
      if (endpoint.receive(message) === undefined) break;
      this.#lengths.drop(LENGTH_BYTES);
      this.#bytes.drop(length);
      taken += length;
    }
    return taken;
  }

  /** Drops everything. */
  clear(): void {
    this.#bytes.clear();
    this.#lengths.clear();
    this.#partial = 0;
  }
}
