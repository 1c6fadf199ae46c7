// Ground floor: one front end's session: what was negotiated, its memory table, its rings, and the start and stop of each.

import type { EventLoop } from '../../../sys/event-loop.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import { unofferedFeatures } from '../../../virtio/device.ts';
import { codeOf, type Log } from '../../../virtio/log.ts';
import { DeviceStatus, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../../virtio/spec.ts';
import { ConfigView } from '../../queue/config-view.ts';
import type { DeviceEvents, DeviceHost, QueueSetup } from '../../queue/queue-host.ts';
import type { Outcome } from '../protocol/connection.ts';
import { encodeMessage, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import * as vu from '../protocol/spec.ts';
import { GuestRegions } from './guest-regions.ts';
import { Vring } from './vring.ts';

/** Deals with a message: see `ConnectionEvents.onMessage`. */
export type Handler = (session: Session, message: Message) => Outcome | undefined | Promise<Outcome | undefined>;

/** What this back end can do beyond the base protocol. */
export const PROTOCOL_FEATURES =
  vu.PROTOCOL_F_MQ |
  vu.PROTOCOL_F_REPLY_ACK |
  vu.PROTOCOL_F_BACKEND_REQ |
  vu.PROTOCOL_F_CONFIG |
  vu.PROTOCOL_F_RESET_DEVICE |
  vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS |
  vu.PROTOCOL_F_STATUS;

export interface SessionOptions {
  /** One line for each thing a person should know. */
  readonly log: Log;
  /** Guest memory may be a file of any file system. */
  readonly allowFileMemory: boolean;
}

/** A ring of which everything is known, and that does not run after so long, says why: its front end waits for it. */
const STARTS_MS = 1000;

export class Session implements DeviceEvents {
  readonly host: DeviceHost;
  readonly vrings: readonly Vring[];
  readonly regions: GuestRegions;
  readonly log: Log;
  readonly config: ConfigView;
  status = 0;
  #features = 0n;
  #backendSocket: UnixSocket | undefined;
  readonly #loop: EventLoop;
  #starts: Disposable | undefined;
  /** What was told of the present driver. Rings stop and start again for many a message: that is no news. */
  #started: string | undefined;

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
    const ring = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
    return this.host.device.features | ring | vu.F_PROTOCOL_FEATURES;
  }

  get features(): bigint {
    return this.#features;
  }

  /** Takes the accepted features. Throws ProtocolError for one that was not offered. */
  async acceptFeatures(features: bigint): Promise<void> {
    const extra = unofferedFeatures(features, this.offeredFeatures);
    if (extra !== 0n) throw new ProtocolError('SET_FEATURES', `feature bits 0x${extra.toString(16)} were not offered`);
    this.#features = features;
    // "If VHOST_USER_F_PROTOCOL_FEATURES has not been negotiated, the ring starts directly in the enabled state."
    if ((features & vu.F_PROTOCOL_FEATURES) === 0n) for (const vring of this.vrings) vring.enabled = true;
    if (this.vrings.some(({ running }) => running)) await this.host.activate(features);
    await this.#startThoseReady();
  }

  /** The ring a message names. Throws ProtocolError. */
  vring(message: Message, index: number): Vring {
    const vring = this.vrings[index];
    if (vring === undefined)
      throw new ProtocolError(vu.requestName(message.request), `queue ${index} of ${this.vrings.length}`);
    return vring;
  }

  async #startThoseReady(): Promise<void> {
    for (const index of this.vrings.keys()) await this.#startIfReady(index);
  }

  /** Starts a ring if everything it needs has been said. Throws ProtocolError for the front end's mistake. */
  async #startIfReady(index: number): Promise<void> {
    const vring = this.vrings[index] as Vring;
    if (vring.running || !vring.isComplete) return;
    if (this.regions.count === 0) return this.#watchStart();
    await this.#start(index, vring.setup(this.#features, this.regions));
  }

  async #start(index: number, setup: QueueSetup): Promise<void> {
    const isFirst = !this.vrings.some(({ running }) => running);
    if (isFirst) this.#tellStaleConfig();
    await this.host.start(index, setup);
    (this.vrings[index] as Vring).running = true;
    if (isFirst) this.#tellStart();
  }

  #tellStart(): void {
    const { count: regions, sizeBytes: memoryBytes, isSealed } = this.regions;
    const features = `0x${this.#features.toString(16)}`;
    const memory = `${Math.round(memoryBytes / 2 ** 20)} MiB of memory in ${regions} ${regions === 1 ? 'region' : 'regions'}`;
    const line = `the driver uses the device: features ${features}, ${memory}`;
    if (line === this.#started) return;
    this.#started = line;
    this.log(line, { event: 'started', features, memoryBytes, regions, isSealed });
    if (isSealed) return;
    this.log('the front end can end this process: its memory is not sealed against shrinking (F_SEAL_SHRINK)', {
      event: 'memory-unsealed',
    });
  }

  #watchStart(): void {
    this.#starts ??= this.#loop.timer(STARTS_MS, () => {
      this.#starts = undefined;
      for (const [index, vring] of this.vrings.entries()) {
        const obstacle = vring.running || !vring.isComplete ? undefined : this.#obstacle(vring);
        if (obstacle !== undefined) this.log(`queue ${index} cannot start: ${obstacle}`, { event: 'queue-waits' });
      }
    });
  }

  #obstacle(vring: Vring): string | undefined {
    if (this.regions.count === 0) return 'the front end has shared no memory';
    try {
      vring.setup(this.#features, this.regions);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** Stops a ring if it runs, and keeps how far it got. A broken one would break again: it waits for a new SET_VRING_KICK. */
  async stop(index: number): Promise<void> {
    const vring = this.vrings[index] as Vring;
    if (!vring.running) return;
    const { base, broken } = await this.host.stop(index);
    vring.running = false;
    vring.base = base;
    if (broken) vring.setKick(undefined);
  }

  /** Changes something of a ring that may run: stops it, changes, and starts it again if it can. */
  async change(index: number, change: () => void): Promise<void> {
    await this.stop(index);
    change();
    await this.#startIfReady(index);
  }

  /** Adds memory, which disturbs no ring; those that waited for it start. Throws what `add` throws: the front end's mistake. */
  async addMemory({ request }: Message, add: () => void): Promise<void> {
    add();
    await this.#shareMemory(request);
  }

  /** Changes the memory table, which every ring stands on. Throws what `change` throws: the front end's mistake. */
  async changeMemory({ request }: Message, change: () => void): Promise<void> {
    await this.stopAll();
    change();
    await this.#shareMemory(request);
  }

  async #shareMemory(request: number): Promise<void> {
    try {
      await this.host.setMemory(this.regions.shared);
    } catch (error) {
      throw new ProtocolError(vu.requestName(request), (error as Error).message);
    }
    for (const [index, vring] of this.vrings.entries()) {
      if (vring.running || !vring.isComplete || this.regions.count === 0) continue;
      let setup: QueueSetup;
      try {
        setup = vring.setup(this.#features, this.regions);
      } catch (error) {
        // A ring that stands in none of the regions waits: they come and go one by one, and what is replaced goes first.
        if (!(error instanceof ProtocolError)) throw error;
        this.#watchStart();
        continue;
      }
      await this.#start(index, setup);
    }
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.vrings.keys()].map((index) => this.stop(index)));
  }

  /**
   * §2.1. QEMU writes 0 when its guest resets the device, and just so when the VM is paused and shall go on: a ring stops, and keeps its
   * place until SET_VRING_BASE names another. What the driver chose holds.
   */
  async setStatus(status: number): Promise<void> {
    if (status === 0) await this.#park();
    this.status = status;
    if ((status & DeviceStatus.DRIVER_OK) === 0) return;
    this.#tellStaleConfig();
    await this.host.activate(this.#features);
  }

  /** A device that nobody drives yet changed after the front end had read its configuration space. */
  #tellStaleConfig(): void {
    if (this.config.isStale) this.configChanged();
  }

  /** Stops every ring as GET_VRING_BASE does: each waits for a new SET_VRING_KICK. */
  async #park(): Promise<void> {
    this.#started = undefined;
    await this.stopAll();
    for (const vring of this.vrings) vring.setKick(undefined);
  }

  /**
   * RESET_DEVICE: everything that the driver did is undone. What the front end said of itself stays, and what it wrote to the
   * configuration space: QEMU 10 writes its `config-wce` once, and resets the device before each start of the guest.
   */
  async reset(): Promise<void> {
    this.#started = undefined;
    await this.stopAll();
    for (const vring of this.vrings) vring.clear();
    this.status = 0;
    await this.host.reset();
    await this.config.repeat(this.host);
  }

  /** SET_OWNER: a session begins. What one before it left on the same connection is forgotten. */
  async begin(): Promise<void> {
    this.config.forgetWrites();
    await this.reset();
    for (const vring of this.vrings) vring.close();
    this.#features = 0n;
    this.regions.clear();
    await this.host.setMemory([]);
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

  /** Ends it: rings stopped, memory given back, descriptors closed. */
  async end(): Promise<void> {
    this.#starts?.[Symbol.dispose]();
    await this.begin();
    this.host.events = undefined;
    this.#backendSocket?.[Symbol.dispose]();
    this.#backendSocket = undefined;
  }
}
