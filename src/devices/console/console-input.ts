// virtio-console: the input for the guest: a bounded buffer, and the receive buffers that are filled from it.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import type { Segments } from '../../virtio/segments.ts';

/** The size of the buffer. While so much input waits for the guest, the source is not read. */
export const INPUT_BYTES_MAX = 64 * 1024;
/** Buffers used in one call of `deliver`: a driver may refill the ring endlessly with tiny buffers. */
const BUFFERS_A_TURN = 64;
/** Small input, such as single keys, is joined up to this size. */
const PIECE_BYTES = 1024;

/** Fills the buffers of the receive queue with input. */
export class ConsoleInput {
  readonly #log: (line: string) => void;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #room: PromiseWithResolvers<void> | undefined;
  #queue: DeviceQueue | undefined;
  /** The buffer for the next input, taken in advance. */
  #buffer: DescriptorChain | undefined;
  /** Input waits, even where there are buffers: the guest has not opened the port, and would drop it. */
  isHeld = false;

  /** @param log gets a line when input is lost. */
  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  /**
   * Adds input. Fulfilled when there is room for more; input that is pushed while there is none is lost, and logged.
   */
  push(bytes: Uint8Array): Promise<void> {
    if (this.#waitingBytes >= INPUT_BYTES_MAX)
      this.#log(`${bytes.length} bytes of input are lost: ${this.#waitingBytes} wait for the guest to read them`);
    else if (bytes.length > 0) this.#keep(bytes);
    this.deliver();
    if (this.#waitingBytes < INPUT_BYTES_MAX) return Promise.resolve();
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  /** Stores a copy: the caller may reuse its array. */
  #keep(bytes: Uint8Array): void {
    const last = this.#waiting.at(-1);
    const before = last !== undefined && last.length + bytes.length <= PIECE_BYTES ? last : new Uint8Array();
    const piece = new Uint8Array(before.length + bytes.length);
    piece.set(before);
    piece.set(bytes, before.length);
    this.#waiting.splice(before.length > 0 ? -1 : this.#waiting.length, 1, piece);
    this.#waitingBytes += bytes.length;
  }

  started(queue: DeviceQueue): void {
    this.#queue = queue;
  }

  /** Puts the buffer back into the ring, unused. Input waits for the next start. */
  stopping(): void {
    if (this.#buffer !== undefined) this.#queue?.untake(this.#buffer);
    this.#buffer = this.#queue = undefined;
  }

  /** Moves waiting input into the guest's buffers, as far as there is room. */
  deliver(): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    for (let used = 0; this.#isNextUsed(queue); used++) {
      if (used === BUFFERS_A_TURN) {
        queue.again();
        break;
      }
      const buffer = this.#buffer as DescriptorChain;
      this.#buffer = undefined;
      queue.markUsed(buffer, this.#fill(buffer.writable));
    }
    queue.publish();
    if (this.#waitingBytes >= INPUT_BYTES_MAX) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  /**
   * Whether there is a buffer to use now: there is input for it, or it has no writable bytes and is returned at once.
   */
  #isNextUsed(queue: DeviceQueue): boolean {
    this.#buffer ??= queue.take();
    if (this.#buffer === undefined) return false;
    return (this.#waitingBytes > 0 && !this.isHeld) || this.#buffer.writable.totalBytes === 0;
  }

  /** Moves waiting input into a buffer. Returns the number of bytes. */
  #fill(writable: Segments): number {
    let filled = 0;
    while (filled < writable.totalBytes) {
      const piece = this.#waiting.shift();
      if (piece === undefined) break;
      const count = writable.copyFrom(piece, filled);
      filled += count;
      if (count < piece.length) this.#waiting.unshift(piece.subarray(count));
    }
    this.#waitingBytes -= filled;
    return filled;
  }
}
