// ports: one connection that carries frames as QEMU's netdevs do: a length of 32 bits in network byte order, then the
// frame. It never waits: what the peer does not read is kept up to a limit.
import { receiveSome, sendSome } from '../sys/stream-bytes.ts';

const LENGTH_BYTES = 4;
/** The longest frame that QEMU sends. */
export const STREAM_FRAME_MAX = 4096 + 65536;
/** What is kept for a peer that does not read. Frames beyond it are dropped. */
export const UNSENT_BYTES_MAX = 1024 * 1024;
const INPUT_BYTES = 4 * (LENGTH_BYTES + STREAM_FRAME_MAX);

/** The peer sent a length that no frame has: the stream cannot be followed any more. */
export class FramingError extends Error {}

/** A connected stream socket, in frames. */
export class FrameStream {
  readonly #fd: number;
  readonly #input = new Uint8Array(INPUT_BYTES);
  /** Bytes of `#input` that were received and are not a whole frame yet. */
  #inputEnd = 0;
  readonly #length = new DataView(new ArrayBuffer(LENGTH_BYTES));
  readonly #lengthBytes = new Uint8Array(this.#length.buffer);
  /** What was not sent, in order. */
  readonly #unsent: Uint8Array[] = [];
  #unsentBytes = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Whether it has bytes to send when the socket becomes writable. */
  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  /** Sends a frame. Returns false where it was dropped. Throws SystemError where the peer is gone. */
  send(frame: Uint8Array): boolean {
    if (this.#unsentBytes > 0) return this.#keep(frame, 0);
    this.#length.setUint32(0, frame.length);
    const sent = sendSome(this.#fd, [this.#lengthBytes, frame]) ?? 0;
    return sent === LENGTH_BYTES + frame.length || this.#keep(frame, sent);
  }

  /** Keeps a copy of what follows the first `sent` bytes. A frame of which a part was sent is always kept. */
  #keep(frame: Uint8Array, sent: number): boolean {
    const length = LENGTH_BYTES + frame.length;
    if (sent === 0 && this.#unsentBytes + length > UNSENT_BYTES_MAX) return false;
    const packet = new Uint8Array(length);
    new DataView(packet.buffer).setUint32(0, frame.length);
    packet.set(frame, LENGTH_BYTES);
    this.#unsent.push(packet.subarray(sent));
    this.#unsentBytes += length - sent;
    return true;
  }

  /** Sends what was kept, as far as the socket takes it. Throws SystemError where the peer is gone. */
  flush(): void {
    while (this.#unsent.length > 0) {
      let sent = sendSome(this.#fd, this.#unsent);
      if (sent === undefined) return;
      this.#unsentBytes -= sent;
      let whole = 0;
      for (; whole < this.#unsent.length && sent >= (this.#unsent[whole] as Uint8Array).length; whole++)
        sent -= (this.#unsent[whole] as Uint8Array).length;
      this.#unsent.splice(0, whole);
      if (sent > 0) this.#unsent[0] = (this.#unsent[0] as Uint8Array).subarray(sent);
    }
  }

  /**
   * Reads once, and passes each whole frame, which is valid until `onFrame` returns. Returns false at the end of the
   * stream. Throws FramingError, or SystemError where the peer is gone.
   */
  receive(onFrame: (frame: Uint8Array) => void): boolean {
    const received = receiveSome(this.#fd, this.#input.subarray(this.#inputEnd));
    if (received === undefined) return true;
    if (received === 0) return false;
    this.#inputEnd += received;
    let at = 0;
    for (let end = this.#frameEnd(at); end !== undefined; end = this.#frameEnd(at)) {
      onFrame(this.#input.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    this.#input.copyWithin(0, at, this.#inputEnd);
    this.#inputEnd -= at;
    return true;
  }

  /** Where the frame at `at` ends, if all of it was received. */
  #frameEnd(at: number): number | undefined {
    if (at + LENGTH_BYTES > this.#inputEnd) return undefined;
    const length = new DataView(this.#input.buffer).getUint32(at);
    if (length > STREAM_FRAME_MAX)
      throw new FramingError(`a frame of ${length} bytes: is the peer QEMU's "-netdev stream", or passt?`);
    const end = at + LENGTH_BYTES + length;
    return end > this.#inputEnd ? undefined : end;
  }
}
