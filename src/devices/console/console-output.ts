// virtio-console: the output of the guest. A slow sink gets one request at a time, in order; the others wait in the ring.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { causeOf, isLater } from '../../virtio/maybe-promise.ts';

/** A stream of Node's: `process.stdout`, a socket, a file stream. */
export interface ConsoleWritable {
  write(bytes: Uint8Array, done: (error?: Error | null) => void): unknown;
  on?(event: 'error', listener: (error: Error) => void): unknown;
}

/**
 * Takes what the guest writes: a copy, which it may keep. The request completes when this returns or its promise
 * settles, and the next one waits until then. If it throws or rejects, the error is logged: a console cannot report it
 * to the guest.
 */
export type ConsoleSink = ConsoleWritable | ((bytes: Uint8Array<ArrayBuffer>) => unknown);

/** The bytes of a request that are written at most; drivers write some kilobytes. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
/** Characters of emergency writes that wait for a busy sink; further ones are lost. */
export const EMERGENCY_BYTES_MAX = 4096;
/** The limits of one call of `write`, so that other queues have their turn. */
const REQUESTS_A_TURN = 64;
const BYTES_A_TURN = 256 * 1024;

/** Writes the requests of the transmit queue to a sink. */
export class ConsoleOutput {
  readonly #sink: (bytes: Uint8Array<ArrayBuffer>) => unknown;
  readonly #log: (line: string) => void;
  #queue: DeviceQueue | undefined;
  /** The request whose bytes the sink is writing. */
  #request: DescriptorChain | undefined;
  /** Settles when the sink is done. It may still be busy with bytes from before the queue stopped. */
  #busy: Promise<void> | undefined;
  readonly #emergency: number[] = [];

  /** @param log gets a line when output is lost. */
  constructor(sink: ConsoleSink, log: (line: string) => void) {
    this.#sink = typeof sink === 'function' ? sink : writerTo(sink);
    this.#log = log;
  }

  started(queue: DeviceQueue): void {
    this.#queue = queue;
  }

  /** Completes the pending request. The sink has a copy, so pausing a VM does not wait for a slow sink. */
  stopping(): void {
    if (this.#request !== undefined) this.#queue?.markUsed(this.#request, 0);
    this.#request = this.#queue = undefined;
  }

  /** Fulfilled when the sink has written everything. */
  async finish(): Promise<void> {
    while (this.#busy !== undefined) await this.#busy;
  }

  /** Writes a character that comes without a ring, before the requests that wait. */
  writeEmergency(character: number): void {
    if (this.#emergency.length === EMERGENCY_BYTES_MAX)
      return this.#log(`an emergency write is lost: ${EMERGENCY_BYTES_MAX} wait for the reader`);
    this.#emergency.push(character);
    this.#giveEmergency();
  }

  #giveEmergency(): void {
    if (this.#busy === undefined && this.#emergency.length > 0) this.#give(Uint8Array.from(this.#emergency.splice(0)));
  }

  /** Writes the requests in the ring until the sink is busy. */
  write(): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    let bytes = 0;
    for (let requests = 0; this.#busy === undefined; requests++) {
      if (requests === REQUESTS_A_TURN || bytes >= BYTES_A_TURN) {
        queue.again();
        break;
      }
      const request = queue.take();
      if (request === undefined) break;
      bytes += request.readable.totalBytes;
      this.#writeOne(request, queue);
    }
    queue.publish();
  }

  #writeOne(request: DescriptorChain, queue: DeviceQueue): void {
    const { totalBytes } = request.readable;
    const bytes = new Uint8Array(Math.min(totalBytes, REQUEST_BYTES_MAX));
    request.readable.copyTo(bytes);
    if (bytes.length < totalBytes)
      this.#log(`a request of ${totalBytes} bytes: what is beyond ${REQUEST_BYTES_MAX} is lost`);
    if (this.#give(bytes)) queue.markUsed(request, 0);
    else this.#request = request;
  }

  /** Returns false where the sink is busy with them from now on. */
  #give(bytes: Uint8Array<ArrayBuffer>): boolean {
    const lost = (error: unknown): void => this.#log(`${bytes.length} bytes of output are lost: ${causeOf(error)}`);
    try {
      const answer = bytes.length === 0 ? undefined : this.#sink(bytes);
      if (!isLater(answer)) return true;
      this.#busy = Promise.resolve(answer)
        .catch(lost)
        .then(() => this.#done());
      return false;
    } catch (error) {
      lost(error);
      return true;
    }
  }

  #done(): void {
    this.#busy = undefined;
    if (this.#request !== undefined) this.#queue?.markUsed(this.#request, 0);
    this.#request = undefined;
    this.#giveEmergency();
    this.write();
  }
}

function writerTo(stream: ConsoleWritable): (bytes: Uint8Array) => Promise<void> {
  // The callback of `write` gets the errors. Without a listener an 'error' event would end the process.
  stream.on?.('error', () => {});
  return (bytes) =>
    new Promise((resolve, reject) => {
      stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
}
