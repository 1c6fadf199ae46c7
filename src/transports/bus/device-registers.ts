// bus: a device's registers on any bus: status (§2.1), features (§2.2), configuration space (§2.5), queues.
//
// A transport (mmio, pci) maps its own registers to this. Steps that take time (start, reset, pause, hand-over) run one
// after the other. A hand-over stops the queues on one host and starts them on another; requests in flight end first,
// and the driver notices nothing.
import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import { LimitedLog } from '../../sys/limited-log.ts';
import { unofferedFeatures } from '../../virtio/device.ts';
import { RING_FEATURES } from '../../virtio/negotiated-format.ts';
import { DeviceStatus, VIRTIO_F_VERSION_1 } from '../../virtio/spec.ts';
import { ConfigView } from '../queue/config-view.ts';
import type { DeviceEvents, DeviceHost, DeviceTraits } from '../queue/queue-host.ts';
import { type QueueLines, QueueRegisters } from './queue-registers.ts';

/** What DeviceRegisters needs of its transport. */
export interface DriverLines extends QueueLines {
  /** Sends the driver a configuration change notification, §2.3. */
  configChanged(): void;
  /** The device was reset: the transport resets its own registers too. */
  reset(): void;
}

export interface DeviceRegistersOptions {
  /** The largest size of a queue, where the device allows more. Default: 256. */
  readonly queueSizeMax?: number;
  /** Ring features to offer, which every later host needs too. Default: `RING_FEATURES`. */
  readonly ringFeatures?: bigint;
  /** Whether the device starts paused, as after `pause`. */
  readonly paused?: boolean;
}

const QUEUE_SIZE_DEFAULT = 256;
const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET, FAILED } = DeviceStatus;
const DRIVER_BITS = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;

/** The registers of one device, between the driver's accesses and the hosts that run its queues. */
export class DeviceRegisters implements DeviceEvents {
  readonly device: DeviceTraits;
  readonly offeredFeatures: bigint;
  readonly queues: readonly QueueRegisters[];
  /** The host of the constructor, and the current one. */
  readonly #own: DeviceHost;
  #host: DeviceHost;
  readonly #lines: DriverLines;
  readonly #errors: EventFd;
  readonly #errorWatch: Disposable;
  #status = 0;
  #paused: boolean;
  #features = 0n;
  #unknownFeatures = false;
  readonly #config: ConfigView;
  readonly #changingCalls = new Set<number>();
  #generation = 0;
  #turn: Promise<void> = Promise.resolve();
  #resetting: Promise<void> | undefined;
  /** Logs a line. Limited, because a driver can cause any number of lines. */
  readonly #log: (line: string) => void;

  constructor(host: DeviceHost, loop: EventLoop, lines: DriverLines, options: DeviceRegistersOptions = {}) {
    const { device } = host;
    this.device = device;
    this.#config = new ConfigView(device.config);
    this.#own = this.#host = host;
    this.#lines = lines;
    this.#log = new LimitedLog((line) => lines.log(line), { burst: 1 }).log;
    this.#paused = options.paused ?? false;
    this.offeredFeatures = device.features | (options.ringFeatures ?? RING_FEATURES);
    this.#errors = EventFd.create();
    this.#errorWatch = loop.watch(this.#errors.fd, { readable: () => this.#errors.clear() && this.needsReset() });
    const most = options.queueSizeMax ?? QUEUE_SIZE_DEFAULT;
    const errFd = this.#errors.fd;
    this.queues = device.queueSizes.map(
      (size, index) => new QueueRegisters({ index, sizeMax: Math.min(size, most), loop, lines, errFd }),
    );
    host.events = this;
  }

  /** Device status, §2.1. Keeps its value until a reset is complete. */
  get status(): number {
    return this.#status;
  }

  /** 0 resets. "The driver MUST NOT clear a device status bit" (§2.1.1): it stays set. The driver waits for a promise. */
  writeStatus(value: number): void | Promise<void> {
    if (value === 0) return this.#reset();
    if (this.#resetting !== undefined) return;
    let added = value & DRIVER_BITS & ~this.#status;
    if ((added & FEATURES_OK) !== 0 && !this.#acceptFeatures()) added &= ~FEATURES_OK;
    if (((this.#status | added) & FEATURES_OK) === 0) added &= ~DRIVER_OK;
    this.#status |= added;
    if ((added & DRIVER_OK) === 0) return;
    // The configuration may have changed after the driver read it and before it could be notified.
    if (this.#config.isStale) this.#lines.configChanged();
    return this.#inTurn(() => this.#start());
  }

  async #start(): Promise<void> {
    try {
      await this.#host.activate(this.#features);
    } catch (problem) {
      this.#log(`the device failed to start: ${(problem as Error).message}`);
      return this.needsReset();
    }
    await this.#startQueues();
  }

  /** "otherwise it MUST fail to set the FEATURES_OK device status bit when the driver writes it", §2.2.2. */
  #acceptFeatures(): boolean {
    const extra = unofferedFeatures(this.#features, this.offeredFeatures);
    if (extra !== 0n || this.#unknownFeatures) {
      this.#log('the driver accepted features that were not offered: refused');
      return false;
    }
    if ((this.#features & VIRTIO_F_VERSION_1) === 0n) {
      this.#log('the driver did not accept VIRTIO_F_VERSION_1: legacy drivers are refused');
      return false;
    }
    return true;
  }

  /** The feature bits that the driver wrote so far. */
  get features(): bigint {
    return this.#features;
  }

  /** 32 of the offered bits, from bit 32 * `select` on. */
  offeredWord(select: number): number {
    return wordOf(this.offeredFeatures, select);
  }

  /** 32 of the accepted bits. */
  acceptedWord(select: number): number {
    return wordOf(this.#features, select);
  }

  /** After FEATURES_OK nothing changes: "The only way to renegotiate is to reset the device", §2.2. */
  acceptWord(select: number, word: number): void {
    if ((this.#status & FEATURES_OK) !== 0 || this.#resetting !== undefined) return;
    if (select > 1) this.#unknownFeatures ||= word !== 0;
    else {
      const shift = BigInt(32 * select);
      this.#features = (this.#features & ~(0xffff_ffffn << shift)) | (BigInt(word) << shift);
    }
  }

  queue(index: number): QueueRegisters | undefined {
    return this.queues[index];
  }

  /** The driver wrote queue readiness: starts the queue if the device runs, or resets it. */
  setReady(index: number, ready: boolean): void | Promise<void> {
    const queue = this.queues[index];
    if (queue === undefined || this.#resetting !== undefined || queue.ready === ready) return;
    if (!ready) return this.#inTurn(() => queue.reset());
    const problem = queue.makeReady(this.#features);
    if (problem !== undefined) this.#log(`queue ${index} is not made ready: ${problem}`);
    else return this.#inTurn(() => this.#startQueue(queue));
  }

  async #startQueues(): Promise<void> {
    await Promise.all(this.queues.map((queue) => this.#startQueue(queue)));
  }

  async #startQueue(queue: QueueRegisters): Promise<void> {
    if (!this.#mayRun(queue)) return;
    try {
      await queue.start(this.#features, this.#host);
    } catch (problem) {
      this.#log(`queue ${queue.index} does not start: ${(problem as Error).message}`);
      this.needsReset();
    }
  }

  #mayRun(queue: QueueRegisters): boolean {
    return queue.ready && !this.#paused && (this.#status & DRIVER_OK) !== 0;
  }

  /** Stops every queue until `resume`. When it resolves, no request in flight touches guest memory. */
  pause(): Promise<void> {
    return this.#inTurn(async () => {
      this.#paused = true;
      await this.#stopQueues();
    });
  }

  async #stopQueues(): Promise<void> {
    await Promise.all(this.queues.map((queue) => queue.stop()));
  }

  /** Restarts the queues that are ready. */
  resume(): Promise<void> {
    return this.#inTurn(() => {
      this.#paused = false;
      return this.#startQueues();
    });
  }

  /** The driver wrote to a queue's doorbell, and the write caused an exit. */
  kick(index: number): void {
    this.queues[index]?.kick();
  }

  /** The queue's `call` target changed. Changes until the host's turn are combined into one. */
  callChanged(index: number): void {
    if (this.#changingCalls.has(index)) return;
    this.#changingCalls.add(index);
    void this.#inTurn(async () => {
      this.#changingCalls.delete(index);
      await this.queues[index]?.changeCall();
    });
  }

  /** Whether there may be used buffers: DRIVER_OK is set and a queue is ready, also during a hand-over. */
  get mayHaveUsed(): boolean {
    return (this.#status & DRIVER_OK) !== 0 && this.queues.some(({ ready }) => ready);
  }

  /** Size of the configuration space. */
  get configBytes(): number {
    return this.#config.sizeBytes;
  }

  /** Changes when the driver reads a configuration space that changed since it last read. */
  get generation(): number {
    return this.#generation;
  }

  /** Reads `sizeBytes` little-endian; bytes beyond the configuration space read as zeroes. */
  readConfig(offset: number, sizeBytes: number): number {
    if (this.#config.isStale) this.#generation = (this.#generation + 1) >>> 0;
    return this.#config.read(offset, sizeBytes).reduceRight((value, byte) => value * 256 + byte, 0);
  }

  /** Writes to the configuration space; read-only bytes stay. The driver waits for a promise. */
  writeConfig(offset: number, sizeBytes: number, value: number): void | Promise<void> {
    if (offset + sizeBytes > this.configBytes || this.#resetting !== undefined) return;
    const bytes = Uint8Array.from({ length: sizeBytes }, (_, i) => value >>> (8 * i));
    return this.#inTurn(async () => {
      await this.#config.write(this.#host, offset, bytes);
    });
  }

  /** The device changed its configuration space. */
  configChanged(): void {
    if ((this.#status & DRIVER_OK) !== 0) this.#lines.configChanged();
  }

  /**
   * "If DRIVER_OK is set, after it sets DEVICE_NEEDS_RESET, the device MUST send a device configuration change
   * notification", §2.1.2.
   */
  needsReset(): void {
    if ((this.#status & DEVICE_NEEDS_RESET) !== 0 || this.#status === 0) return;
    this.#status |= DEVICE_NEEDS_RESET;
    if ((this.#status & DRIVER_OK) !== 0) this.#lines.configChanged();
  }

  #reset(): Promise<void> {
    this.#resetting ??= this.#inTurn(async () => {
      await Promise.all(this.queues.map((queue) => queue.reset()));
      for (const host of new Set([this.#own, this.#host])) await this.#resetHost(host);
      this.#errors.clear();
      this.#features = 0n;
      this.#unknownFeatures = false;
      this.#config.forgetWrites();
      this.#lines.reset();
      this.#status = 0;
      this.#resetting = undefined;
    });
    return this.#resetting;
  }

  /** Logs a failure: the driver waits for the reset in any case. */
  async #resetHost(host: DeviceHost): Promise<void> {
    try {
      await host.reset();
    } catch (problem) {
      this.#log(`the device failed to reset: ${(problem as Error).message}`);
    }
  }

  /**
   * Moves the queues to `host`, whatever the driver is doing; queues that start later start there. The caller has set
   * the memory of `host`. Repeats the driver's features and configuration writes to it. If it rejects, the host of the
   * constructor runs the queues.
   */
  moveTo(host: DeviceHost): Promise<void> {
    return this.#inTurn(async () => {
      try {
        await this.#attach(host);
      } catch (problem) {
        await this.#attachOwn();
        throw problem;
      }
    });
  }

  /** Moves the queues back to the host of the constructor. */
  moveBack(): Promise<void> {
    return this.#inTurn(() => this.#attachOwn());
  }

  async #attachOwn(): Promise<void> {
    try {
      await this.#attach(this.#own);
    } catch (problem) {
      this.#log(`the queues do not start again: ${(problem as Error).message}`);
      this.needsReset();
    }
  }

  async #attach(host: DeviceHost): Promise<void> {
    await this.#stopQueues();
    // Its own device may change while its queues run elsewhere.
    if (this.#host !== this.#own) this.#host.events = undefined;
    this.#host = host;
    host.events = this;
    if ((this.#status & FEATURES_OK) !== 0) {
      await host.activate(this.#features);
      await this.#config.repeat(host);
    }
    const starts = this.queues.filter((queue) => this.#mayRun(queue)).map((queue) => queue.start(this.#features, host));
    const failed = (await Promise.allSettled(starts)).find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Runs steps one after the other. A failure rejects this step only. */
  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(step);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Resets the device and releases everything. */
  async close(): Promise<void> {
    await this.#reset();
    for (const host of [this.#own, this.#host]) host.events = undefined;
    this.#errorWatch[Symbol.dispose]();
    this.#errors[Symbol.dispose]();
  }
}

function wordOf(features: bigint, select: number): number {
  return select > 1 ? 0 : Number((features >> BigInt(32 * select)) & 0xffff_ffffn);
}
