// Ground floor: what a driver did to one device, whatever the bus: status (§2.1), features (§2.2), configuration space (§2.5), queues.
//
// A transport (virtio-mmio, virtio-pci) has one DriverSession and puts its registers over it; it gives the session `DriverLines`, which
// lead to the kernel. Nothing here knows KVM. What the session offers:
//
//   status, writeStatus(value)         §2.1 with its rules; a promise where the driver has to wait: DRIVER_OK, and reset
//   offeredFeatures, features          64 bits, read and written in words of 32 by select
//   queue(index)                       TransportQueue: size, addresses; ready by `setReady(index, ready)`
//   kick(index)                        a write to a doorbell that left the guest
//   readConfig, writeConfig, generation
//   pause(), resume()                  the device may not touch memory for a while: PCI's command bit for DMA
//   callChanged(index)                 the transport's `callFd(index)` gives another descriptor from now on
//   lend(host), reclaim()              the hand-over
//
// Hand-over: `await session.lend(host)` has every queue run on another QueueHost: requests in flight end, each queue's doorbell is
// grabbed from the host it has (host-notifier.ts), lent to a new eventfd, and `host` starts it from the base where the other stopped.
// It can be called at any moment of the driver's life: a queue that is not running, or that the driver resets and starts again, goes to
// `host` when it starts. `lend` while lent goes from one host to the next. `await session.reclaim()` brings all back to the host the
// session was made with. The driver notices neither. The caller prepares `host`: it has the memory (`setMemory`) and offers every
// feature in `offeredFeatures`; the session calls `activate`, repeats what the driver wrote to the configuration space, then `start`.
// If `host` cannot start a queue, everything goes back to where the session began, and `lend` rejects with the reason. `host.stop` must
// answer although its back end died: with a base from which the next host may go on. All steps take their turn: a reset waits for them.
import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import { unofferedFeatures, type VirtioDevice } from '../../virtio/device.ts';
import { DeviceStatus, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../virtio/spec.ts';
import type { QueueHost } from '../queue/queue-host.ts';
import { type QueueLines, TransportQueue } from './queue-registers.ts';
import { sayOnce } from './say-once.ts';

/** What the transport does for its session. */
export interface DriverLines extends QueueLines {
  /** Sends the driver a configuration change notification, §2.3. */
  configChanged(): void;
  /** The device was reset: what the driver told the transport is forgotten as well. */
  reset(): void;
}

export interface DriverSessionOptions {
  /** The largest size of a queue, where the device allows more. 256 unless said. */
  readonly queueSizeMax?: number;
  /** What the queues offer: less where whoever shall run them can do less. VERSION_1, INDIRECT_DESC and EVENT_IDX unless said. */
  readonly ringFeatures?: bigint;
  /** Whether it begins as after `pause`. */
  readonly paused?: boolean;
}

const QUEUE_SIZE_DEFAULT = 256;
const RING_FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET, FAILED } = DeviceStatus;
const DRIVER_BITS = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;

export class DriverSession {
  readonly device: VirtioDevice;
  readonly offeredFeatures: bigint;
  readonly queues: readonly TransportQueue[];
  readonly #home: QueueHost;
  readonly #lines: DriverLines;
  readonly #errors: EventFd;
  readonly #errorWatch: Disposable;
  #host: QueueHost;
  #status = 0;
  #paused: boolean;
  #features = 0n;
  #unknownFeatures = false;
  /** What the driver wrote to the configuration space, by place: a host that takes over has to know. */
  readonly #written = new Map<string, { readonly offset: number; readonly bytes: Uint8Array }>();
  #generation = 0;
  #changedSinceRead = false;
  #turn: Promise<void> = Promise.resolve();
  #resetting: Promise<void> | undefined;
  /** What the driver did wrong. */
  readonly #accuse: (line: string) => void;

  constructor(
    device: VirtioDevice,
    host: QueueHost,
    loop: EventLoop,
    lines: DriverLines,
    options: DriverSessionOptions = {},
  ) {
    this.device = device;
    this.#home = this.#host = host;
    this.#lines = lines;
    this.#accuse = sayOnce(lines.say);
    this.#paused = options.paused ?? false;
    this.offeredFeatures = device.features | (options.ringFeatures ?? RING_FEATURES);
    this.#errors = EventFd.create();
    this.#errorWatch = loop.watch(this.#errors.fd, {
      readable: () => {
        if (this.#errors.clear()) this.#needsReset();
      },
    });
    const sizeMax = options.queueSizeMax ?? QUEUE_SIZE_DEFAULT;
    this.queues = device.queueSizes.map(
      (size, index) =>
        new TransportQueue({ index, sizeMax: Math.min(size, sizeMax), host, loop, lines, errFd: this.#errors.fd }),
    );
    device.onConfigChange = () => this.#configChanged();
  }

  /** §2.1. It stays as it is while a reset goes on. */
  get status(): number {
    return this.#status;
  }

  /** 0 resets. "The driver MUST NOT clear a device status bit" (§2.1.1): one it leaves out stays set. */
  writeStatus(value: number): void | Promise<void> {
    if (value === 0) return this.#reset();
    if (this.#resetting !== undefined) return;
    let added = value & DRIVER_BITS & ~this.#status;
    if ((added & FEATURES_OK) !== 0 && !this.#acceptFeatures()) added &= ~FEATURES_OK;
    if (((this.#status | added) & FEATURES_OK) === 0) added &= ~DRIVER_OK;
    this.#status |= added;
    if ((added & DRIVER_OK) === 0) return;
    // What changed after the driver read it, and before it could be told.
    if (this.#changedSinceRead) this.#lines.configChanged();
    return this.#inTurn(() => this.#startQueues());
  }

  /** "otherwise it MUST fail to set the FEATURES_OK device status bit when the driver writes it", §2.2.2. */
  #acceptFeatures(): boolean {
    const extra = unofferedFeatures(this.#features, this.offeredFeatures);
    if (extra !== 0n || this.#unknownFeatures) {
      this.#accuse('the driver accepted features that were not offered: refused');
      return false;
    }
    if ((this.#features & VIRTIO_F_VERSION_1) === 0n) {
      this.#accuse('the driver did not accept VIRTIO_F_VERSION_1: legacy drivers are refused');
      return false;
    }
    this.#host.activate(this.#features);
    return true;
  }

  /** What the driver accepted so far. */
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

  queue(index: number): TransportQueue | undefined {
    return this.queues[index];
  }

  /** The driver has set a queue up, or is done with it. */
  setReady(index: number, ready: boolean): void | Promise<void> {
    const queue = this.queues[index];
    if (queue === undefined || this.#resetting !== undefined || queue.ready === ready) return;
    if (!ready) return this.#inTurn(() => queue.reset());
    const problem = queue.makeReady();
    if (problem !== undefined) this.#accuse(`queue ${index} is not made ready: ${problem}`);
    else return this.#inTurn(() => this.#startQueue(queue));
  }

  async #startQueues(): Promise<void> {
    await Promise.all(this.queues.map((queue) => this.#startQueue(queue)));
  }

  async #startQueue(queue: TransportQueue): Promise<void> {
    if (!queue.ready || queue.runs || this.#paused || (this.#status & DRIVER_OK) === 0) return;
    const problem = await queue.start(this.#features);
    if (problem === undefined) return;
    this.#accuse(`queue ${queue.index} does not start: ${problem.message}`);
    this.#needsReset();
  }

  /** Stops every queue until `resume`. When it is fulfilled nothing in flight touches guest memory. */
  pause(): Promise<void> {
    return this.#inTurn(async () => {
      this.#paused = true;
      await Promise.all(this.queues.map((queue) => queue.stop()));
    });
  }

  /** Has the queues that the driver wants to run go on. */
  resume(): Promise<void> {
    return this.#inTurn(() => {
      this.#paused = false;
      return this.#startQueues();
    });
  }

  /** A write to a queue's doorbell left the guest. One of a queue that is not running, or is none, rings nothing. */
  kick(index: number): void {
    this.queues[index]?.kick();
  }

  /** The lines give another `callFd` for this queue from now on. */
  callChanged(index: number): void {
    this.queues[index]?.changeCall();
  }

  /** Whether the driver may find buffers used: while it drives, also while a queue goes from one host to another. */
  get mayHaveUsed(): boolean {
    return (this.#status & DRIVER_OK) !== 0 && this.queues.some(({ ready }) => ready);
  }

  /** Changes when what the driver reads changed since it last read. */
  get generation(): number {
    return this.#generation;
  }

  /** Bytes that are not there read as zeroes. */
  readConfig(offset: number, sizeBytes: number): number {
    if (this.#changedSinceRead) this.#generation = (this.#generation + 1) >>> 0;
    this.#changedSinceRead = false;
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) value += (this.device.config[offset + i] ?? 0) * 2 ** (8 * i);
    return value;
  }

  /** What the device does not let the driver write stays as it is. */
  writeConfig(offset: number, sizeBytes: number, value: number): void {
    if (offset + sizeBytes > this.device.config.length || this.#resetting !== undefined) return;
    const bytes = Uint8Array.from({ length: sizeBytes }, (_, i) => value >>> (8 * i));
    if (!this.#host.writeConfig(offset, bytes)) return;
    const place = `${offset}+${sizeBytes}`;
    this.#written.delete(place); // the latest comes last
    this.#written.set(place, { offset, bytes });
  }

  #configChanged(): void {
    this.#changedSinceRead = true;
    if ((this.#status & DRIVER_OK) !== 0) this.#lines.configChanged();
  }

  /** "If DRIVER_OK is set, after it sets DEVICE_NEEDS_RESET, the device MUST send a device configuration change notification", §2.1.2. */
  #needsReset(): void {
    if ((this.#status & DEVICE_NEEDS_RESET) !== 0 || this.#status === 0) return;
    this.#status |= DEVICE_NEEDS_RESET;
    if ((this.#status & DRIVER_OK) !== 0) this.#lines.configChanged();
  }

  #reset(): Promise<void> {
    this.#resetting ??= this.#inTurn(async () => {
      await Promise.all(this.queues.map((queue) => queue.reset()));
      for (const host of new Set([this.#home, this.#host])) host.reset();
      this.#errors.clear();
      this.#features = 0n;
      this.#unknownFeatures = this.#changedSinceRead = false;
      this.#written.clear();
      this.#lines.reset();
      this.#status = 0;
      this.#resetting = undefined;
    });
    return this.#resetting;
  }

  /** Has `host` run the queues; see above. Rejects when it cannot, and all is as before `lend`'s first call. */
  lend(host: QueueHost): Promise<void> {
    return this.#inTurn(async () => {
      const problem = await this.#moveTo(host);
      if (problem === undefined) return;
      await this.#moveHome();
      throw problem;
    });
  }

  /** Has the host that the session was made with run the queues again. */
  reclaim(): Promise<void> {
    return this.#inTurn(() => this.#moveHome());
  }

  async #moveHome(): Promise<void> {
    const problem = await this.#moveTo(this.#home);
    if (problem === undefined) return;
    this.#lines.say(`the queues do not start again: ${problem.message}`);
    this.#needsReset();
  }

  async #moveTo(host: QueueHost): Promise<Error | undefined> {
    await Promise.all(this.queues.map((queue) => queue.leave()));
    this.#host = host;
    if ((this.#status & FEATURES_OK) !== 0) {
      host.activate(this.#features);
      for (const { offset, bytes } of this.#written.values()) host.writeConfig(offset, bytes);
    }
    const problems = await Promise.all(this.queues.map((queue) => queue.goTo(host)));
    return problems.find((problem) => problem !== undefined);
  }

  /** One step after the other; a step that fails is its caller's matter, and the next goes on. */
  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(step);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Ends it as a reset does, and gives everything back. */
  async close(): Promise<void> {
    await this.#reset();
    this.device.onConfigChange = undefined;
    this.#errorWatch[Symbol.dispose]();
    this.#errors[Symbol.dispose]();
  }
}

function wordOf(features: bigint, select: number): number {
  return select > 1 ? 0 : Number((features >> BigInt(32 * select)) & 0xffff_ffffn);
}
