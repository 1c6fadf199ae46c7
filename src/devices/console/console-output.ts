// First floor: what the guest writes, on its way to a sink that may be slow: one request at a time, in order; the others wait in the ring.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { causeOf, isLater } from '../../virtio/maybe-promise.ts';

/** A stream of Node's: `process.stdout`, a socket, a file. */
export interface ConsoleWritable {
  write(bytes: Uint8Array, done: (error?: Error | null) => void): unknown;
  on?(event: 'error', listener: (error: Error) => void): unknown;
}

/**
 * Takes what the guest writes: a copy, which it may keep. The guest's request is done when this answers, and the next one waits until
 * then. What it throws or rejects is told to the user: the guest has no way to learn that a console failed.
 */
export type ConsoleSink = ConsoleWritable | ((bytes: Uint8Array<ArrayBuffer>) => unknown);

/** What one request may write; drivers write some kilobytes. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
/** What is done before others have their turn, whichever comes first. */
const REQUESTS_A_TURN = 64;
const BYTES_A_TURN = 256 * 1024;

export class ConsoleOutput {
  readonly #sink: (bytes: Uint8Array<ArrayBuffer>) => unknown;
  readonly #log: (line: string) => void;
  #queue: DeviceQueue | undefined;
  /** The request whose bytes the sink is busy with. */
  #request: DescriptorChain | undefined;
  /** While the sink is busy, also with the bytes of a run that ended. */
  #busy: Promise<void> | undefined;

  /** @param log given a line where output is lost. */
  constructor(sink: ConsoleSink, log: (line: string) => void) {
    this.#sink = typeof sink === 'function' ? sink : writerTo(sink);
    this.#log = log;
  }

  started(queue: DeviceQueue): void {
    this.#queue = queue;
  }

  /** The sink has a copy: a VM that is paused does not wait for whoever reads its console. */
  stopping(): void {
    if (this.#request !== undefined) this.#queue?.markUsed(this.#request, 0);
    this.#request = this.#queue = undefined;
  }

  /** Fulfilled when the sink has what it was given. */
  async finish(): Promise<void> {
    await this.#busy;
  }

  /** Writes what is in the ring, as far as the sink takes it. */
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
      this.#log(`console: a request of ${totalBytes} bytes: what is beyond ${REQUEST_BYTES_MAX} is lost`);
    const lost = (error: unknown): void =>
      this.#log(`console: ${bytes.length} bytes of output are lost: ${causeOf(error)}`);
    try {
      const answer = bytes.length === 0 ? undefined : this.#sink(bytes);
      if (isLater(answer)) {
        this.#request = request;
        this.#busy = Promise.resolve(answer)
          .catch(lost)
          .then(() => this.#done());
        return;
      }
    } catch (error) {
      lost(error);
    }
    queue.markUsed(request, 0);
  }

  #done(): void {
    this.#busy = undefined;
    if (this.#request !== undefined) this.#queue?.markUsed(this.#request, 0);
    this.#request = undefined;
    this.write();
  }
}

function writerTo(stream: ConsoleWritable): (bytes: Uint8Array) => Promise<void> {
  // `write` is told of errors as well; an event that nobody listens to would end the process.
  stream.on?.('error', () => {});
  return (bytes) =>
    new Promise((resolve, reject) => {
      stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
}
