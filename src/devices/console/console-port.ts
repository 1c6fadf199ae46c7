// virtio-console: one port: its input, its output, and where they lead.
import type { DeviceContext } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { ConsoleInput } from './console-input.ts';
import { ConsoleOutput } from './console-output.ts';
import { type ConsoleSize, checkSize } from './console-size.ts';
import { isStream, readSource } from './console-source.ts';
import type { ConsolePortOptions } from './port-options.ts';
import { EVENT } from './spec.ts';

/** A port of a console device. */
export interface ConsolePort {
  /** Its number: 0 is the guest's /dev/hvc0. */
  readonly id: number;
  readonly name: string | undefined;
  readonly isConsole: boolean;
  /** Whether the other end is open: the guest reads the end of the file, and cannot write, while it is not. */
  readonly isOpen: boolean;
  /** Whether the guest has it open. Input of a serial port waits until then. */
  readonly isOpenInGuest: boolean;
  /** The size of the window, if it has one. */
  readonly size: ConsoleSize | undefined;
  /**
   * Adds input for the guest, besides that of the options. Fulfilled when there is room for more; input that is pushed
   * before that is lost.
   */
  push(input: Uint8Array | string): Promise<void>;
  /** Changes the size of the window, and tells the driver. Throws RangeError, or Error for a port without a size. */
  resize(size: ConsoleSize): void;
  /** Says whether the other end is open, and tells the driver. A console ignores it. */
  setOpen(isOpen: boolean): void;
  /**
   * Removes the port while the guest runs. Waiting input is lost. Fulfilled when the sink has everything that the guest
   * wrote.
   */
  remove(): Promise<void>;
}

/** What a port needs of its device. */
export interface PortOwner {
  readonly context: DeviceContext | undefined;
  /** Its size, or whether its end is open, changed. */
  changed(id: number, message: typeof EVENT.RESIZE | typeof EVENT.PORT_OPEN): void;
  removed(port: RunningPort): void;
}

/** A port, as the device runs it. */
export class RunningPort implements ConsolePort {
  readonly id: number;
  readonly name: string | undefined;
  readonly isConsole: boolean;
  isOpen: boolean;
  size: ConsoleSize | undefined;
  readonly #options: ConsolePortOptions;
  readonly #owner: PortOwner;
  readonly #input: ConsoleInput;
  readonly #output: ConsoleOutput;
  readonly #closing = new AbortController();
  #transmit: DeviceQueue | undefined;
  #receive: DeviceQueue | undefined;
  #isReading = false;

  /** @param options were checked. */
  constructor(id: number, options: ConsolePortOptions, owner: PortOwner) {
    const { name, isConsole = false, isOpen = true, size, output, stream } = options;
    this.id = id;
    this.name = name;
    this.isConsole = isConsole;
    this.isOpen = isOpen;
    this.size = size;
    this.#options = options;
    this.#owner = owner;
    this.#input = new ConsoleInput(this.log);
    this.#input.isHeld = !isConsole;
    this.#output = new ConsoleOutput(output ?? stream ?? drop, this.log);
  }

  readonly log = (line: string): void =>
    this.#owner.context?.log(this.id === 0 ? `console: ${line}` : `port ${this.name ?? this.id}: ${line}`);

  get isOpenInGuest(): boolean {
    return !this.#input.isHeld;
  }

  push(input: Uint8Array | string): Promise<void> {
    return this.#input.push(typeof input === 'string' ? new TextEncoder().encode(input) : input);
  }

  resize(size: ConsoleSize): void {
    if (this.size === undefined) throw new Error('this console was made without a size: the driver does not read one');
    checkSize(size);
    this.size = size;
    this.#owner.changed(this.id, EVENT.RESIZE);
  }

  setOpen(isOpen: boolean): void {
    if (isOpen === this.isOpen) return;
    this.isOpen = isOpen;
    this.#owner.changed(this.id, EVENT.PORT_OPEN);
  }

  async remove(): Promise<void> {
    if (!this.#closing.signal.aborted) this.#owner.removed(this);
    await this.close();
  }

  /** The driver opened or closed it. A console takes input at any time. */
  driverOpened(isOpen: boolean): void {
    if (this.isConsole || isOpen === this.isOpenInGuest) return;
    this.#input.isHeld = !isOpen;
    this.#options.onOpen?.(isOpen);
    this.#input.deliver();
  }

  /** §5.3.6.1: an emergency write, which needs no queue. */
  writeEmergency(character: number): void {
    this.#output.writeEmergency(character);
  }

  receiveStarted(queue: DeviceQueue): void {
    this.#receive = queue;
    this.#input.started(queue);
    const { input = this.#options.stream } = this.#options;
    const { context } = this.#owner;
    // Not earlier: each thread has an instance of the device, and only this one has the queues.
    if (this.#isReading || input === undefined || context === undefined) return;
    this.#isReading = true;
    const push = (bytes: Uint8Array): Promise<void> => this.#input.push(bytes);
    void readSource(input, context, { push, log: this.log, signal: this.#closing.signal });
  }

  transmitStarted(queue: DeviceQueue): void {
    this.#transmit = queue;
    this.#output.started(queue);
  }

  receiveStopping(): void {
    this.#receive = undefined;
    this.#input.stopping();
  }

  transmitStopping(): void {
    this.#transmit = undefined;
    this.#output.stopping();
  }

  /** There may be buffers for input. */
  deliver(): void {
    this.#input.deliver();
  }

  /** There may be output. */
  write(): void {
    this.#output.write();
  }

  /** Gives up its queues, which go on without it. */
  detach(): void {
    const [receive, transmit] = [this.#receive, this.#transmit];
    this.receiveStopping();
    this.transmitStopping();
    receive?.publish();
    transmit?.publish();
  }

  /** Stops the input. Fulfilled when the sink has everything that the guest wrote. */
  async close(): Promise<void> {
    this.#closing.abort();
    const { input, stream } = this.#options;
    if (input !== undefined && isStream(input)) input.destroy?.();
    await this.#output.finish();
    // It is the output as well.
    stream?.destroy?.();
  }
}

function drop(): void {}
