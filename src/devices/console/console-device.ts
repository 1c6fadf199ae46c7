// virtio-console, §5.3, with one port: the device: its queues and the size of its window.
import type { DeviceConfig, DeviceContext, VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { VIRTIO_ID_CONSOLE } from '../../virtio/spec.ts';
import { ConsoleInput } from './console-input.ts';
import { ConsoleOutput, type ConsoleSink } from './console-output.ts';
import { type ConsoleSource, isStream, readSource } from './console-source.ts';
import * as spec from './spec.ts';

/** A window, in characters. */
export interface ConsoleSize {
  readonly cols: number;
  readonly rows: number;
}

/** The options of a console. */
export interface ConsoleDeviceOptions {
  /**
   * Input for the guest. It is read once the driver has started the device, and not while 64 KiB wait for the guest.
   * Absent: the only input is from `push`.
   */
  readonly input?: ConsoleSource;
  /** Takes what the guest writes. */
  readonly output: ConsoleSink;
  /** The size of the window; `resize` changes it. Absent: VIRTIO_CONSOLE_F_SIZE is not offered. */
  readonly size?: ConsoleSize;
}

/** Drivers fill the receive queue with buffers of a page. */
const QUEUE_SIZE = 256;

/**
 * The guest's /dev/hvc0. Input waits while the guest has no buffer for it (it is paused, it boots, it is slow), across
 * a reset too.
 *
 * @example The guest on this terminal:
 * const device = new ConsoleDevice({ input: process.stdin, output: process.stdout });
 * serve(device, { vhostUser: '/tmp/console.sock', log: (line) => console.error(line) });
 */
export class ConsoleDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_CONSOLE;
  readonly features: bigint;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE];
  readonly config: DeviceConfig = { bytes: new Uint8Array(spec.CONFIG_BYTES) };
  readonly #source: ConsoleSource | undefined;
  readonly #input: ConsoleInput;
  readonly #output: ConsoleOutput;
  readonly #closing = new AbortController();
  #context: DeviceContext | undefined;
  #accepted = 0n;
  #isReading = false;

  /** Throws TypeError or RangeError for an invalid option. */
  constructor({ input, output, size }: ConsoleDeviceOptions) {
    checkOptions(input, output);
    const log = (line: string): void => this.#context?.log(line);
    this.features = size === undefined ? 0n : spec.VIRTIO_CONSOLE_F_SIZE;
    this.#source = input;
    this.#input = new ConsoleInput(log);
    this.#output = new ConsoleOutput(output, log);
    if (size !== undefined) this.#setSize(size);
  }

  /**
   * Adds input for the guest, besides `input`. Fulfilled when there is room for more; input that is pushed before that
   * is lost.
   */
  push(input: Uint8Array | string): Promise<void> {
    return this.#input.push(typeof input === 'string' ? new TextEncoder().encode(input) : input);
  }

  /**
   * Changes the size of the window and notifies the driver. Throws RangeError, or Error where the device has no `size`.
   */
  resize(size: ConsoleSize): void {
    if (this.features === 0n) throw new Error('this console was made without a size: the driver does not read one');
    this.#setSize(size);
    if ((this.#accepted & spec.VIRTIO_CONSOLE_F_SIZE) !== 0n) this.#context?.configChanged();
  }

  #setSize({ cols, rows }: ConsoleSize): void {
    const isSize = (count: number): boolean => Number.isInteger(count) && count >= 0 && count <= 0xffff;
    if (!isSize(cols) || !isSize(rows))
      throw new RangeError(`a window of ${cols} columns and ${rows} rows; whole numbers up to 65535 are wanted`);
    const view = new DataView(this.config.bytes.buffer);
    view.setUint16(spec.CONFIG.cols, cols, true);
    view.setUint16(spec.CONFIG.rows, rows, true);
  }

  /** Both queues run on one thread: they share the input and the output. */
  threadOf(): number {
    return 0;
  }

  attach(context: DeviceContext): void {
    this.#context = context;
  }

  start(features: bigint, context: DeviceContext): void {
    this.#context = context;
    this.#accepted = features;
  }

  queueStarted(index: number, queue: DeviceQueue): void {
    if (index === spec.TRANSMITQ) return this.#output.started(queue);
    this.#input.started(queue);
    // Not earlier: each thread has an instance of the device, and only this one has the queues.
    if (!this.#isReading && this.#source !== undefined && this.#context !== undefined) {
      this.#isReading = true;
      void readSource(this.#source, this.#context, (bytes) => this.#input.push(bytes), this.#closing.signal);
    }
  }

  queueStopping(index: number): void {
    if (index === spec.TRANSMITQ) this.#output.stopping();
    else this.#input.stopping();
  }

  process(index: number): void {
    if (index === spec.TRANSMITQ) this.#output.write();
    else this.#input.deliver();
  }

  /** The size of the window stays, and waiting input is kept for the next driver. */
  reset(): void {
    this.#accepted = 0n;
  }

  /** Stops the input. Fulfilled when the sink has everything that the guest wrote. */
  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#source !== undefined && isStream(this.#source)) this.#source.destroy?.();
    await this.#output.finish();
  }
}

function checkOptions(input: unknown, output: unknown): void {
  const isFunction = (member: unknown): boolean => typeof member === 'function';
  const source = (input ?? {}) as Partial<AsyncIterable<unknown>> & { fd?: unknown; read?: unknown };
  const isDescriptor = typeof source.fd === 'number' && isFunction(source.read);
  if (input !== undefined && !isDescriptor && !isFunction(source[Symbol.asyncIterator]))
    throw new TypeError('a console’s input is a stream (process.stdin, an async generator, …) or { fd, read(into) }');
  if (!isFunction(output) && !isFunction((output as { write?: unknown } | undefined)?.write))
    throw new TypeError('a console’s output is a stream (process.stdout, …) or a function that takes bytes');
}
