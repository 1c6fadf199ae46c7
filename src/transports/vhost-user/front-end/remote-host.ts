// Ground floor: a device whose queues a vhost-user back end runs. It may come and go: while there is none, requests wait in the rings.

import { setTimeout as sleep } from 'node:timers/promises';
import { EventFd } from '../../../sys/event-fd.ts';
import type { Log } from '../../../virtio/log.ts';
import { VIRTIO_F_EVENT_IDX } from '../../../virtio/spec.ts';
import { splitFormat } from '../../../virtio/split/split-format.ts';
import { SplitRing } from '../../../virtio/split/split-ring.ts';
import { MappedMemory } from '../../queue/mapped-memory.ts';
import type {
  CallTarget,
  DeviceEvents,
  DeviceHost,
  DeviceTraits,
  QueueSetup,
  QueueStop,
  SharedRegion,
} from '../../queue/queue-host.ts';
import { InflightArea } from './inflight-area.ts';
import type { RemoteBackEnd } from './remote-back-end.ts';
import type { FrontEndRequests } from './requests.ts';
import { resumeIndex } from './resume-index.ts';

/** How often the ring of a queue that was stopped is looked at, and when its user is told why it takes so long. */
const LOOK_MS = 1;
const SLOW_MS = 1000;
/** Without EVENT_IDX a back end does not tell what it took: one that finishes nothing for so long has finished it all. */
const STEADY_MS = 20;

interface Running {
  setup: QueueSetup;
  readonly ring: SplitRing;
  /** Where to go on, if that is known. It is not while a back end runs the queue; when that went away only the ring tells. */
  base: number | undefined;
  broken: boolean;
  /** While its back end is asked to be done with it. */
  parking: Promise<void> | undefined;
}

export class RemoteHost implements DeviceHost, Disposable {
  readonly device: DeviceTraits;
  events: DeviceEvents | undefined;
  /** The back end went away by itself; requests wait until `attach`. */
  onGone: ((reason: Error) => void) | undefined;
  readonly #log: Log;
  readonly #running = new Map<number, Running>();
  #backEnd: RemoteBackEnd | undefined;
  #regions: readonly SharedRegion[] = [];
  readonly #memory = new MappedMemory();
  #features: bigint | undefined;
  /** What the driver wrote to the configuration space, and what stood there before it did, by offset. */
  readonly #written = new Map<number, { readonly bytes: Uint8Array; readonly before: Uint8Array }>();
  readonly #inflight: InflightArea;

  /** @param device what the driver sees: it judges its writes to the configuration space. Its queues run in the back end. */
  constructor(device: DeviceTraits, log: Log) {
    this.device = device;
    this.#log = log;
    this.#inflight = new InflightArea(device.queueSizes);
  }

  /** The back end that runs the queues, if there is one. */
  get backEnd(): RemoteBackEnd | undefined {
    return this.#backEnd;
  }

  /** Has this back end run everything from now on, from where it stands. Rejects with why not; then there is none again. */
  async attach(backEnd: RemoteBackEnd): Promise<void> {
    let isAttached = false;
    this.#backEnd = backEnd;
    backEnd.onGone = (reason) => {
      if (this.#backEnd !== backEnd) return;
      this.#backEnd = undefined;
      if (isAttached) this.onGone?.(reason);
    };
    try {
      await backEnd.converse(() => this.#everything(backEnd.requests, [...this.#running]));
      isAttached = true;
    } catch (problem) {
      await this.detach();
      throw problem;
    }
  }

  async #everything(requests: FrontEndRequests, running: readonly [number, Running][]): Promise<void> {
    if (this.#regions.length > 0) await requests.shareMemory(this.#regions);
    if (this.#features !== undefined) await requests.setFeatures(this.#features);
    for (const [offset, { bytes }] of this.#written) await requests.writeConfig(offset, bytes);
    const isInOrder = running.every(([, { base }]) => base !== undefined);
    await this.#inflight.share(requests, isInOrder);
    for (const [index, queue] of running) await this.#startQueue(requests, index, queue);
  }

  async #startQueue(requests: FrontEndRequests, index: number, queue: Running): Promise<void> {
    // While this waited its turn, the queue may have been stopped, or all of them taken elsewhere.
    if (this.#running.get(index) !== queue || this.#backEnd?.requests !== requests) return;
    // A back end that was given its predecessor's notes finds out by itself what is unfinished, from the used index on.
    if (this.#inflight.isShared && !queue.broken) queue.base ??= queue.ring.usedIndex();
    const base = this.#baseOf(index, queue);
    if (base === undefined) return;
    queue.setup = { ...queue.setup, base };
    queue.base = undefined;
    const { call, kickFd } = queue.setup;
    try {
      await requests.startQueue(index, { ...queue.setup, callFd: fdOf(call) });
    } catch (refusal) {
      await requests.stopQueue(index); // it may have begun all the same
      this.#baseOf(index, queue);
      throw refusal;
    }
    // Its predecessor may have heard a kick that it did not live to serve, and not told of what it finished last.
    ringOnce(kickFd);
    ringOnce(fdOf(call));
  }

  /** Where to go on, with no back end running the queue. Undefined: that cannot be known, and the driver is told. */
  #baseOf(index: number, queue: Running): number | undefined {
    if (queue.broken || queue.base !== undefined) return queue.base;
    const { features, base, errFd } = queue.setup;
    const eventIdx = (features & VIRTIO_F_EVENT_IDX) !== 0n;
    queue.base = resumeIndex({ ring: queue.ring, eventIdx, base });
    if (queue.base !== undefined) return queue.base;
    queue.broken = true;
    this.#log(
      `queue ${index} stopped until the driver resets it: its back end went away with requests finished out of order, and which ones are not cannot be told`,
    );
    ringOnce(errFd);
    return undefined;
  }

  /** Stops every queue, and leaves the back end to the caller: requests wait until `attach`. */
  async detach(): Promise<void> {
    const parked = [...this.#running].map(([index, queue]) => this.#park(index, queue));
    this.#backEnd = undefined;
    await Promise.all(parked);
  }

  /** Leaves the back end for good: in an orderly way if it stops its queues within a second, else as it is. */
  async leave(): Promise<void> {
    const backEnd = this.#backEnd;
    const slow = new AbortController();
    await Promise.race([this.detach(), sleep(SLOW_MS, undefined, { signal: slow.signal }).catch(() => {})]);
    slow.abort();
    backEnd?.[Symbol.dispose]();
  }

  /** Afterwards no back end runs the queue, and `base` is known if it stopped in an orderly way. */
  #park(index: number, queue: Running): Promise<void> {
    const backEnd = this.#backEnd;
    if (queue.parking !== undefined) return queue.parking;
    if (backEnd === undefined || queue.broken || queue.base !== undefined) return Promise.resolve();
    queue.parking = this.#parkAt(backEnd, index, queue).finally(() => {
      queue.parking = undefined;
    });
    return queue.parking;
  }

  async #parkAt(backEnd: RemoteBackEnd, index: number, queue: Running): Promise<void> {
    const { ring } = queue;
    try {
      if (backEnd.requests.isLibvhostUser) await this.#quieten(backEnd, index, queue);
      const base = await backEnd.converse(() => backEnd.requests.stopQueue(index));
      // One may answer while requests that it took are in flight. Their number is in the ring: nobody else may serve it before.
      if (await this.#until(index, backEnd, () => ring.usedIndex() === base)) queue.base = base;
    } catch (problem) {
      if (backEnd.gone === undefined) this.#giveUp(backEnd, problem as Error);
    }
  }

  /**
   * libvhost-user (of QEMU 7.2) closes its call eventfd with GET_VRING_BASE, and gives up on the next request it finishes: the others in
   * flight are lost. So it is given a kick eventfd that is never rung, and asked when it has finished what it took, as avail_event tells.
   */
  async #quieten(backEnd: RemoteBackEnd, index: number, { ring, setup }: Running): Promise<void> {
    const hasEventIdx = (setup.features & VIRTIO_F_EVENT_IDX) !== 0n;
    using silent = EventFd.create();
    await backEnd.converse(() => backEnd.requests.setKick(index, silent.fd));
    const isQuiet = hasEventIdx ? () => ring.words().availEvent === ring.usedIndex() : steady(() => ring.usedIndex());
    await this.#until(index, backEnd, () => isQuiet() || ring.usedIndex() === ring.availableIndex());
  }

  /** It does not keep to the protocol. */
  #giveUp(backEnd: RemoteBackEnd, problem: Error): void {
    backEnd[Symbol.dispose]();
    backEnd.onGone?.(problem);
  }

  /** Looks until it is so; false when the back end is gone. */
  async #until(index: number, backEnd: RemoteBackEnd, isSo: () => boolean): Promise<boolean> {
    const startedMs = performance.now();
    for (let isTold = false; !isSo(); await sleep(LOOK_MS)) {
      if (backEnd.gone !== undefined) return false;
      if (isTold || performance.now() - startedMs < SLOW_MS) continue;
      this.#log(`queue ${index} waits for requests that its back end has in flight`);
      isTold = true;
    }
    return true;
  }

  async setMemory(regions: readonly SharedRegion[]): Promise<void> {
    this.#memory.set(regions);
    this.#regions = regions;
    await this.#tell((requests) => requests.shareMemory(regions));
  }

  async start(index: number, setup: QueueSetup): Promise<void> {
    const ring = new SplitRing(setup.size, this.#memory.ring(splitFormat, setup.size, setup));
    const queue: Running = { setup, ring, base: setup.base, broken: false, parking: undefined };
    this.#running.set(index, queue);
    try {
      await this.#tell((requests) => this.#startQueue(requests, index, queue));
    } catch (problem) {
      this.#running.delete(index);
      throw problem;
    }
  }

  async stop(index: number): Promise<QueueStop> {
    const queue = this.#queue(index);
    await this.#park(index, queue);
    const base = this.#baseOf(index, queue);
    this.#running.delete(index);
    return { base: base ?? splitFormat.firstBase, broken: base === undefined };
  }

  async setCall(index: number, call: CallTarget | undefined): Promise<void> {
    const queue = this.#queue(index);
    queue.setup = { ...queue.setup, call };
    await this.#tell((requests) => requests.setCall(index, fdOf(call)));
    ringOnce(fdOf(call));
  }

  #queue(index: number): Running {
    const queue = this.#running.get(index);
    if (queue === undefined) throw new Error(`queue ${index} does not run`);
    return queue;
  }

  async activate(features: bigint): Promise<void> {
    this.#features = features;
    const backEnd = this.#backEnd;
    try {
      await this.#tell((requests) => requests.setFeatures(features));
    } catch (problem) {
      this.#giveUp(backEnd as RemoteBackEnd, problem as Error);
    }
  }

  async writeConfig(offset: number, bytes: Uint8Array): Promise<boolean> {
    const { config } = this.device;
    const before = config?.bytes.slice(offset, offset + bytes.length);
    if (before === undefined || config?.write?.(offset, bytes) !== true) return false;
    this.#written.set(offset, { bytes, before: this.#written.get(offset)?.before ?? before });
    await this.#tellAnyway((requests) => requests.writeConfig(offset, bytes));
    return true;
  }

  async reset(): Promise<void> {
    this.#features = undefined;
    const written = [...this.#written];
    this.#written.clear();
    await this.#tellAnyway((requests) => requests.resetDevice());
    // A back end keeps what a front end wrote: some front ends write once, and reset the device before each start.
    for (const [offset, { before }] of written)
      await this.#tellAnyway((requests) => requests.writeConfig(offset, before));
    await this.#tellAnyway((requests) => this.#inflight.share(requests, true));
    await this.#backEnd?.refreshConfig();
  }

  /** Gives the guest's memory back. No queue runs. */
  [Symbol.dispose](): void {
    this.#inflight[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  /** What it refuses is a line in the log. */
  async #tellAnyway(say: (requests: FrontEndRequests) => Promise<void>): Promise<void> {
    try {
      await this.#tell(say);
    } catch (problem) {
      this.#log((problem as Error).message);
    }
  }

  /** Tells the back end, if there is one; the next one is told with everything else. Rejects with what it refused, not that it went. */
  async #tell(say: (requests: FrontEndRequests) => Promise<void>): Promise<void> {
    const backEnd = this.#backEnd;
    if (backEnd === undefined) return;
    try {
      await backEnd.converse(() => say(backEnd.requests));
    } catch (problem) {
      if (backEnd.gone === undefined) throw problem;
    }
  }
}

/** Tells whether a value has not changed for a while. */
function steady(read: () => number): () => boolean {
  let latest = Number.NaN;
  let sinceMs = 0;
  return () => {
    const value = read();
    if (value !== latest) sinceMs = performance.now();
    latest = value;
    return performance.now() - sinceMs > STEADY_MS;
  };
}

/** A back end in another process calls by eventfd. */
function fdOf(call: CallTarget | undefined): number | undefined {
  return call !== undefined && 'fd' in call ? call.fd : undefined;
}

function ringOnce(fd: number | undefined): void {
  if (fd !== undefined) EventFd.borrow(fd).signal();
}
