// vhost-user/back-end: one front end's session: what was negotiated, its memory table, its rings, and the start and stop of
// each.

import type { EventLoop } from '../../../sys/event-loop.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import { unofferedFeatures } from '../../../virtio/device.ts';
import { codeOf, type Log } from '../../../virtio/log.ts';
import { RING_FEATURES } from '../../../virtio/negotiated-format.ts';
import { DeviceStatus } from '../../../virtio/spec.ts';
import { ConfigView } from '../../queue/config-view.ts';
import type { DeviceEvents, DeviceHost, QueueSetup } from '../../queue/queue-host.ts';
import type { Outcome } from '../protocol/connection.ts';
import { encodeMessage, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import * as vu from '../protocol/spec.ts';
import type { DirtyLogFile } from './dirty-log-file.ts';
import { GuestRegions } from './guest-regions.ts';
import { InFlightFile } from './in-flight-file.ts';
import { Vring } from './vring.ts';

/** Handles a message: see `ConnectionEvents.onMessage`. */
export type Handler = (session: Session, message: Message) => Outcome | undefined | Promise<Outcome | undefined>;

/** The protocol features that this back end offers. */
export const PROTOCOL_FEATURES =
  vu.PROTOCOL_F_MQ |
  vu.PROTOCOL_F_LOG_SHMFD |
  vu.PROTOCOL_F_REPLY_ACK |
  vu.PROTOCOL_F_BACKEND_REQ |
  vu.PROTOCOL_F_CONFIG |
  vu.PROTOCOL_F_INFLIGHT_SHMFD |
  vu.PROTOCOL_F_RESET_DEVICE |
  vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS |
  vu.PROTOCOL_F_STATUS;

export interface SessionOptions {
  /** Takes each log line. */
  readonly log: Log;
  /** Accept guest memory in a file of any file system. */
  readonly allowFileMemory: boolean;
}

/** A complete ring that does not run after this long is logged, with the reason. */
const START_LIMIT_MS = 1000;

/** The state of one front end's session, and the steps that messages make in it. */
export class Session implements DeviceEvents {
  readonly host: DeviceHost;
  readonly vrings: readonly Vring[];
  readonly regions: GuestRegions;
  readonly inFlight = new InFlightFile();
  readonly log: Log;
  readonly config: ConfigView;
  status = 0;
  #features = 0n;
  #dirtyLog: DirtyLogFile | undefined;
  #backendSocket: UnixSocket | undefined;
  readonly #loop: EventLoop;
  #startCheck: Disposable | undefined;
  /** The last line logged about the start. Many messages stop and start rings, and must not repeat it. */
  #startLine: string | undefined;

  constructor(host: DeviceHost, loop: EventLoop, { log, allowFileMemory }: SessionOptions) {
    this.host = host;
    this.#loop = loop;
    this.log = log;
    this.regions = new GuestRegions(allowFileMemory);
    this.config = new ConfigView(host.device.config);
    this.vrings = host.device.queueSizes.map(() => new Vring());
    host.events = this;
  }

  get offeredFeatures(): bigint {
    return this.host.device.features | RING_FEATURES | vu.F_PROTOCOL_FEATURES | vu.F_LOG_ALL;
  }

  get features(): bigint {
    return this.#features;
  }

  /** Stores the features that the driver accepted. Throws ProtocolError for one that was not offered. */
  async acceptFeatures(features: bigint): Promise<void> {
    const extra = unofferedFeatures(features, this.offeredFeatures);
    if (extra !== 0n) throw new ProtocolError('SET_FEATURES', `feature bits 0x${extra.toString(16)} were not offered`);
    const isLogToggled = ((this.#features ^ features) & vu.F_LOG_ALL) !== 0n;
    this.#features = features;
    if (isLogToggled) await this.#setMemory('SET_FEATURES');
    // "If VHOST_USER_F_PROTOCOL_FEATURES has not been negotiated, the ring starts directly in the enabled state."
    if ((features & vu.F_PROTOCOL_FEATURES) === 0n) for (const vring of this.vrings) vring.enabled = true;
    if (this.vrings.some(({ running }) => running)) await this.host.activate(features);
    await this.#startThoseReady();
  }

  /** Returns the ring that a message names. Throws ProtocolError for an index out of range. */
  vring(message: Message, index: number): Vring {
    const vring = this.vrings[index];
    if (vring === undefined)
      throw new ProtocolError(vu.requestName(message.request), `queue ${index} of ${this.vrings.length}`);
    return vring;
  }

  async #startThoseReady(): Promise<void> {
    for (const index of this.vrings.keys()) await this.#startIfReady(index);
  }

  /** Starts a ring if it is complete. Throws ProtocolError for the front end's mistake. */
  async #startIfReady(index: number): Promise<void> {
    const vring = this.vrings[index] as Vring;
    if (vring.running || !vring.isComplete) return;
    if (this.regions.count === 0) return this.#checkStartLater();
    const setup = vring.setup(this.#features, this.regions);
    await this.#start(index, { ...setup, inFlight: this.inFlight.partOf(index, setup.size, this.#features) });
  }

  async #start(index: number, setup: QueueSetup): Promise<void> {
    const isFirst = !this.vrings.some(({ running }) => running);
    if (isFirst) this.#notifyStaleConfig();
    await this.host.start(index, setup);
    (this.vrings[index] as Vring).running = true;
    if (isFirst) this.#logStart();
  }

  #logStart(): void {
    const { count: regions, sizeBytes: memoryBytes, isSealed } = this.regions;
    const features = `0x${this.#features.toString(16)}`;
    const memory = `${Math.round(memoryBytes / 2 ** 20)} MiB of memory in ${regions} ${regions === 1 ? 'region' : 'regions'}`;
    const line = `the driver uses the device: features ${features}, ${memory}`;
    if (line === this.#startLine) return;
    this.#startLine = line;
    this.log(line, { event: 'started', features, memoryBytes, regions, isSealed });
    if (isSealed) return;
    this.log('the front end can end this process: its memory is not sealed against shrinking (F_SEAL_SHRINK)', {
      event: 'memory-unsealed',
    });
  }

  #checkStartLater(): void {
    this.#startCheck ??= this.#loop.timer(START_LIMIT_MS, () => {
      this.#startCheck = undefined;
      for (const [index, vring] of this.vrings.entries()) {
        const problem = vring.running || !vring.isComplete ? undefined : this.#startProblem(vring);
        if (problem !== undefined) this.log(`queue ${index} cannot start: ${problem}`, { event: 'queue-waits' });
      }
    });
  }

  #startProblem(vring: Vring): string | undefined {
    if (this.regions.count === 0) return 'the front end has shared no memory';
    try {
      vring.setup(this.#features, this.regions);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /**
   * Stops a ring if it runs, and keeps its base. A broken ring would break again, so it waits for a new SET_VRING_KICK.
   */
  async stop(index: number): Promise<void> {
    const vring = this.vrings[index] as Vring;
    if (!vring.running) return;
    const { base, broken } = await this.host.stop(index);
    vring.running = false;
    vring.base = base;
    if (broken) vring.setKick(undefined);
  }

  /** Changes a ring that may run: stops it, calls `change`, and starts it again if it is complete. */
  async change(index: number, change: () => void): Promise<void> {
    await this.stop(index);
    change();
    await this.#startIfReady(index);
  }

  /** Adds memory while rings run; rings that waited for it start. Throws what `add` throws: the front end's mistake. */
  async addMemory({ request }: Message, add: () => void): Promise<void> {
    add();
    await this.#shareMemory(request);
  }

  /** Stops all rings and changes the memory table. Throws what `change` throws: the front end's mistake. */
  async changeMemory({ request }: Message, change: () => void): Promise<void> {
    await this.stopAll();
    change();
    await this.#shareMemory(request);
  }

  /** SET_LOG_BASE: pages are marked in another log, before the one before is closed. */
  async changeDirtyLog(log: DirtyLogFile): Promise<void> {
    using _before = this.#dirtyLog;
    this.#dirtyLog = log;
    await this.#setMemory('SET_LOG_BASE');
  }

  /** Has the host use the memory table, and mark written pages if the front end has asked for that. */
  async #setMemory(messageName: string): Promise<void> {
    const log = (this.#features & vu.F_LOG_ALL) === 0n ? undefined : this.#dirtyLog;
    log?.check(messageName, this.regions.shared);
    try {
      await this.host.setMemory(this.regions.shared, log?.part);
    } catch (error) {
      throw new ProtocolError(messageName, (error as Error).message);
    }
  }

  async #shareMemory(request: number): Promise<void> {
    await this.#setMemory(vu.requestName(request));
    if (this.regions.count > 0) for (const index of this.vrings.keys()) await this.#startOrWait(index);
  }

  /** A ring outside every region waits: regions are added and removed one by one, and a replaced one is removed first. */
  async #startOrWait(index: number): Promise<void> {
    try {
      await this.#startIfReady(index);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#checkStartLater();
    }
  }

  /** Stops all rings, and changes the file in which they record requests in flight. */
  async changeInFlight(change: () => void): Promise<void> {
    await this.stopAll();
    change();
    await this.#startThoseReady();
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.vrings.keys()].map((index) => this.stop(index)));
  }

  /**
   * §2.1. QEMU writes 0 when its guest resets the device, and also when the VM is paused and will go on: rings stop,
   * and keep their base until SET_VRING_BASE sets another. Features and configuration stay.
   */
  async setStatus(status: number): Promise<void> {
    if (status === 0) await this.#stopUntilKick();
    this.status = status;
    if ((status & DeviceStatus.DRIVER_OK) === 0) return;
    this.#notifyStaleConfig();
    await this.host.activate(this.#features);
  }

  /** The configuration space may have changed after the front end read it and before the driver used the device. */
  #notifyStaleConfig(): void {
    if (this.config.isStale) this.configChanged();
  }

  /** Stops every ring as GET_VRING_BASE does: each waits for a new SET_VRING_KICK. */
  async #stopUntilKick(): Promise<void> {
    this.#startLine = undefined;
    await this.stopAll();
    for (const vring of this.vrings) vring.setKick(undefined);
  }

  /**
   * RESET_DEVICE: undoes everything that the driver did. The front end's memory table, its call eventfds and its writes
   * to the configuration space stay: QEMU 10 writes its `config-wce` once, and resets the device before each start of
   * the guest.
   */
  async reset(): Promise<void> {
    this.#startLine = undefined;
    await this.stopAll();
    for (const vring of this.vrings) vring.clear();
    this.status = 0;
    await this.host.reset();
    await this.config.repeat(this.host);
  }

  /** SET_OWNER: a session begins. Undoes everything that a session before it did on the same connection. */
  async begin(): Promise<void> {
    this.config.forgetWrites();
    await this.reset();
    for (const vring of this.vrings) vring.close();
    this.#features = 0n;
    this.regions.clear();
    this.inFlight.clear();
    await this.host.setMemory([]);
    this.#dirtyLog?.[Symbol.dispose]();
    this.#dirtyLog = undefined;
  }

  setBackendSocket(socket: UnixSocket): void {
    this.#backendSocket?.[Symbol.dispose]();
    this.#backendSocket = socket;
  }

  configChanged(): void {
    try {
      this.#backendSocket?.send(encodeMessage(vu.BackendRequest.CONFIG_CHANGE_MSG, 0, new Uint8Array(0)));
    } catch (error) {
      const about = { event: 'refused', ...codeOf(error) } as const;
      this.log(`the front end was not told of the configuration change: ${(error as Error).message}`, about);
    }
  }

  /** "If DRIVER_OK is set, after it sets DEVICE_NEEDS_RESET, the device MUST send a … change notification", §2.1.2. */
  needsReset(): void {
    this.status |= DeviceStatus.DEVICE_NEEDS_RESET;
    this.configChanged();
  }

  /** Ends the session: stops rings, unmaps memory, closes descriptors. */
  async end(): Promise<void> {
    this.#startCheck?.[Symbol.dispose]();
    await this.begin();
    this.host.events = undefined;
    this.#backendSocket?.[Symbol.dispose]();
    this.#backendSocket = undefined;
  }
}
