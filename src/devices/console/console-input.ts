// First floor: input on its way to the guest: a bounded place where it waits, and the receive buffers that it goes to.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import type { Segments } from '../../virtio/segments.ts';

/** Input that waits for the guest. While there is so much of it, the source is not read. */
export const INPUT_BYTES_MAX = 64 * 1024;
/** Buffers given back before others have their turn: a driver may refill the ring with buffers of one byte, or none. */
const BUFFERS_A_TURN = 64;
/** Single keys are kept together. */
const PIECE_BYTES = 1024;

export class ConsoleInput {
  readonly #log: (line: string) => void;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #room: PromiseWithResolvers<void> | undefined;
  #queue: DeviceQueue | undefined;
  /** The buffer that the next input goes to, taken ahead. */
  #buffer: DescriptorChain | undefined;

  /** @param log given a line where input is lost. */
  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  /** Input for the guest. Fulfilled when there is room for more; what comes while there is none is lost, and named. */
  push(bytes: Uint8Array): Promise<void> {
    if (this.#waitingBytes >= INPUT_BYTES_MAX)
      this.#log(
        `console: ${bytes.length} bytes of input are lost: ${this.#waitingBytes} wait for the guest to read them`,
      );
    else if (bytes.length > 0) this.#keep(bytes);
    this.deliver();
    if (this.#waitingBytes < INPUT_BYTES_MAX) return Promise.resolve();
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  /** A copy: whoever pushed the bytes may use them again. */
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

  /** The buffer goes back to the ring: the driver never learns that it was taken, and input waits for the next start. */
  stopping(): void {
    if (this.#buffer !== undefined) this.#queue?.untake(this.#buffer);
    this.#buffer = this.#queue = undefined;
  }

  /** Gives the guest what waits, as far as it has room. */
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

  /** Whether there is a buffer, and something to do with it: one without room goes back at once. */
  #isNextUsed(queue: DeviceQueue): boolean {
    this.#buffer ??= queue.take();
    return this.#buffer !== undefined && (this.#waitingBytes > 0 || this.#buffer.writable.totalBytes === 0);
  }

  /** Moves what waits into a buffer; returns how many bytes that were. */
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
