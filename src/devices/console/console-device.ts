// virtio-console, §5.3: the device: its ports, its queues, its configuration space.
import type { DeviceConfig, DeviceContext, VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { VIRTIO_ID_CONSOLE } from '../../virtio/spec.ts';
import { ConsoleControl } from './console-control.ts';
import { type ConsolePort, type PortOwner, RunningPort } from './console-port.ts';
import type { ConsoleSize } from './console-size.ts';
import { receiveControl, sendControl } from './control-queues.ts';
import { type ConsolePortOptions, checkPort } from './port-options.ts';
import * as spec from './spec.ts';

/** The options of a console: of its port 0, which is the guest's /dev/hvc0, and of further ports. */
export interface ConsoleDeviceOptions extends Omit<ConsolePortOptions, 'isConsole' | 'isOpen'> {
  /** Further ports. Absent, and no `maxPorts`: VIRTIO_CONSOLE_F_MULTIPORT is not offered. */
  readonly ports?: readonly ConsolePortOptions[];
  /**
   * Ports at most, port 0 included, 2 to 31: `addPort` adds them. Each has two queues, used or not. Default: 8, or more
   * where `ports` has more.
   */
  readonly maxPorts?: number;
}

/** Ports at most: User-Mode Linux takes 64 queues, and QEMU's own device has as many ports. */
export const PORTS_MAX = 31;
const PORTS_DEFAULT = 8;
/** Drivers fill the receive queue with buffers of a page. */
const QUEUE_SIZE = 256;

/**
 * The guest's /dev/hvc0, and further ports if there are any: consoles, and serial ports with a name. Input waits while
 * the guest has no buffer for it (it is paused, it boots, it is slow), across a reset too. Each port waits for itself.
 *
 * @example The guest on this terminal:
 * const device = new ConsoleDevice({ input: process.stdin, output: process.stdout });
 * serve(device, { vhostUser: '/tmp/console.sock', log: (line) => console.error(line) });
 * @example With a serial port, /dev/virtio-ports/agent, and one that comes and goes:
 * const device = new ConsoleDevice({ output: process.stdout, ports: [{ name: 'agent', stream: socket }] });
 * const port = device.addPort({ name: 'log', output: createWriteStream('guest.log') });
 * await port.remove();
 */
export class ConsoleDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_CONSOLE;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly config: DeviceConfig = {
    bytes: new Uint8Array(spec.CONFIG_BYTES),
    write: (offset, bytes) => this.#writeConfig(offset, bytes),
  };
  /** By number. */
  readonly #ports: (RunningPort | undefined)[];
  readonly #control: ConsoleControl;
  readonly #queues: (DeviceQueue | undefined)[] = [];
  #lastId = 0;
  #context: DeviceContext | undefined;
  #accepted = 0n;

  /** Throws TypeError or RangeError for an invalid option. */
  constructor(options: ConsoleDeviceOptions) {
    const { ports, size, input, output, stream } = options;
    const maxPorts = maxPortsOf(options);
    checkPort({ ...options, isConsole: true }, maxPorts === 1);
    const hasConsole = output !== undefined || stream !== undefined || input !== undefined;
    if (!hasConsole && size !== undefined) throw new TypeError('a console with a size has an input, output or stream');
    this.queueSizes = new Array(maxPorts === 1 ? 2 : 2 * maxPorts + 2).fill(QUEUE_SIZE);
    // Linux takes the size of any console only where SIZE is negotiated.
    const sized = size !== undefined || maxPorts > 1;
    this.features =
      (hasConsole ? spec.VIRTIO_CONSOLE_F_EMERG_WRITE : 0n) |
      (sized ? spec.VIRTIO_CONSOLE_F_SIZE : 0n) |
      (maxPorts > 1 ? spec.VIRTIO_CONSOLE_F_MULTIPORT : 0n);
    this.#ports = new Array(maxPorts).fill(undefined);
    this.#control = new ConsoleControl(maxPorts, (line) => this.#context?.log(`console: ${line}`));
    if (hasConsole) this.#add(0, { ...options, isConsole: true });
    for (const port of ports ?? []) this.addPort(port);
    if (size !== undefined) this.#showSize(size);
    if (maxPorts > 1) this.#configView.setUint32(spec.CONFIG.max_nr_ports, maxPorts, true);
  }

  get #configView(): DataView {
    return new DataView(this.config.bytes.buffer);
  }

  /** The ports that it has now, by number. */
  get ports(): readonly ConsolePort[] {
    return this.#ports.filter((port) => port !== undefined);
  }

  /**
   * Adds a port, while a guest runs too. Throws TypeError or RangeError for an invalid option, for a name that another
   * port has, and where there are `maxPorts` already.
   */
  addPort(options: ConsolePortOptions): ConsolePort {
    const most = this.#ports.length;
    if (most === 1) throw new RangeError('this console was made with one port: give it `ports`, or `maxPorts`');
    checkPort(options);
    const { name } = options;
    if (name !== undefined && this.#ports.some((port) => port?.name === name))
      throw new RangeError(`this console has a port ${name} already`);
    // The number that was free the longest: the driver may still be busy with the port that had another.
    for (let step = 1; step <= most; step++) {
      const id = (this.#lastId + step) % most;
      if (id === 0 || this.#ports[id] !== undefined) continue;
      this.#lastId = id;
      return this.#add(id, options);
    }
    throw new RangeError(
      `this console has ${most} ports at most, /dev/hvc0 included: \`maxPorts\` makes room for more`,
    );
  }

  #add(id: number, options: ConsolePortOptions): ConsolePort {
    const port = new RunningPort(id, options, this.#owner);
    this.#ports[id] = port;
    this.#control.add(id, port);
    const queue = spec.receiveQueueOf(id);
    const [receive, transmit] = [this.#queues[queue], this.#queues[queue + 1]];
    if (receive !== undefined) port.receiveStarted(receive);
    if (transmit !== undefined) port.transmitStarted(transmit);
    this.#sendControl();
    return port;
  }

  readonly #owner: PortOwner = (() => {
    const device = this;
    return {
      get context(): DeviceContext | undefined {
        return device.#context;
      },
      changed(id, message) {
        if (id === 0 && message === spec.EVENT.RESIZE) device.#resized();
        device.#control.changed(id, message);
        device.#sendControl();
      },
      removed(port) {
        device.#ports[port.id] = undefined;
        port.detach();
        device.#control.remove(port.id);
        device.#sendControl();
        const queue = device.#queues[spec.receiveQueueOf(port.id) + 1];
        if (queue !== undefined) dropOutput(queue);
      },
    };
  })();

  get #port0(): ConsolePort {
    const port = this.#ports[0];
    if (port === undefined) throw new Error('this console has no port 0');
    return port;
  }

  /**
   * Adds input for /dev/hvc0, besides `input`. Fulfilled when there is room for more; input that is pushed before that
   * is lost.
   */
  push(input: Uint8Array | string): Promise<void> {
    return this.#port0.push(input);
  }

  /**
   * Changes the size of the window of /dev/hvc0 and notifies the driver. Throws RangeError, or Error where the device
   * has no `size`.
   */
  resize(size: ConsoleSize): void {
    this.#port0.resize(size);
  }

  #resized(): void {
    this.#showSize(this.#ports[0]?.size as ConsoleSize);
    if ((this.#accepted & spec.VIRTIO_CONSOLE_F_SIZE) !== 0n) this.#context?.configChanged();
  }

  #showSize({ cols, rows }: ConsoleSize): void {
    this.#configView.setUint16(spec.CONFIG.cols, cols, true);
    this.#configView.setUint16(spec.CONFIG.rows, rows, true);
  }

  /** §5.3.5.1: "The device MUST allow a write to emerg_wr, even on an unconfigured device." It reads as 0. */
  #writeConfig(offset: number, bytes: Uint8Array): boolean {
    const isEmergency = offset === spec.CONFIG.emerg_wr && bytes.length > 0 && bytes.length <= 4;
    if (!isEmergency || (this.features & spec.VIRTIO_CONSOLE_F_EMERG_WRITE) === 0n) return false;
    this.#ports[0]?.writeEmergency(bytes[0] as number);
    return true;
  }

  /** All queues run on one thread: those of a port share its ends, and the control queues are about all. */
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
    this.#queues[index] = queue;
    if (isControl(index)) return;
    const port = this.#ports[spec.portOf(index)];
    if (index % 2 === 0) port?.receiveStarted(queue);
    else port?.transmitStarted(queue);
  }

  queueStopping(index: number): void {
    this.#queues[index] = undefined;
    if (isControl(index)) return;
    const port = this.#ports[spec.portOf(index)];
    if (index % 2 === 0) port?.receiveStopping();
    else port?.transmitStopping();
  }

  process(index: number, queue: DeviceQueue): void {
    if (index === spec.CONTROL_TRANSMITQ) {
      receiveControl(queue, this.#control);
      this.#sendControl();
    } else if (index === spec.CONTROL_RECEIVEQ) this.#sendControl();
    else this.#processPort(index, queue);
  }

  #processPort(index: number, queue: DeviceQueue): void {
    const port = this.#ports[spec.portOf(index)];
    if (index % 2 === 0) port?.deliver();
    else if (port !== undefined) port.write();
    else dropOutput(queue);
  }

  #sendControl(): void {
    const queue = this.#queues[spec.CONTROL_RECEIVEQ];
    if (queue !== undefined) sendControl(queue, this.#control, (line) => this.#context?.log(`console: ${line}`));
  }

  /** The size of the window stays, and waiting input is kept for the next driver, which is told of all ports. */
  reset(): void {
    this.#accepted = 0n;
    this.#control.reset();
    for (const port of this.#ports) port?.driverOpened(false);
  }

  /** Stops the input. Fulfilled when every sink has everything that the guest wrote. */
  async close(): Promise<void> {
    await Promise.all(this.#ports.map((port) => port?.close()));
  }
}

function isControl(index: number): boolean {
  return index === spec.CONTROL_RECEIVEQ || index === spec.CONTROL_TRANSMITQ;
}

/** Linux waits for the output of a console, with interrupts off, even where its port has gone. */
function dropOutput(queue: DeviceQueue): void {
  queue.drain((chain) => queue.markUsed(chain, 0));
}

function maxPortsOf({ ports, maxPorts }: ConsoleDeviceOptions): number {
  if (ports === undefined && maxPorts === undefined) return 1;
  const wanted = 1 + (ports?.length ?? 0);
  const most = maxPorts ?? Math.max(PORTS_DEFAULT, wanted);
  if (!Number.isInteger(most) || most < 2 || most > PORTS_MAX)
    throw new RangeError(`a console of ${most} ports; a whole number from 2 to ${PORTS_MAX} is wanted`);
  if (wanted > most) throw new RangeError(`a console of ${wanted} ports, /dev/hvc0 included; ${most} is the most`);
  return most;
}
