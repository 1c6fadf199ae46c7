// vhost-user/front-end: a DeviceHost whose queues a vhost-user back end runs. Back ends come and go; without one, requests wait
// in the rings.

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

/** How often the ring of a stopping queue is checked, and when a slow stop is logged. */
const CHECK_MS = 1;
const SLOW_MS = 1000;
/**
 * Without EVENT_IDX the ring does not show what a back end took: if it finishes nothing for this long, it has finished
 * everything.
 */
const STEADY_MS = 20;

/** A queue that the driver runs, with or without a back end. */
interface Running {
  setup: QueueSetup;
  readonly ring: SplitRing;
  /**
   * Where to go on. Undefined while a back end runs the queue, and after one went away until it is worked out from the
   * ring.
   */
  base: number | undefined;
  broken: boolean;
  /** Set while the back end is stopping the queue. */
  stopping: Promise<void> | undefined;
}

/** Runs a device's queues in the attached back end. Keeps what the driver chose, for the next back end. */
export class RemoteHost implements DeviceHost, Disposable {
  readonly device: DeviceTraits;
  events: DeviceEvents | undefined;
  /** Called when the back end went away by itself; requests then wait until `attach`. */
  onGone: ((reason: Error) => void) | undefined;
  readonly #log: Log;
  readonly #running = new Map<number, Running>();
  #backEnd: RemoteBackEnd | undefined;
  #regions: readonly SharedRegion[] = [];
  readonly #memory = new MappedMemory();
  #features: bigint | undefined;
  /** By offset: what the driver wrote to the configuration space, and the bytes before its first write. */
  readonly #configWrites = new Map<number, { readonly bytes: Uint8Array; readonly before: Uint8Array }>();
  readonly #inflight: InflightArea;

  /** @param device what the driver sees; it accepts or refuses writes to the configuration space. */
  constructor(device: DeviceTraits, log: Log) {
    this.device = device;
    this.#log = log;
    this.#inflight = new InflightArea(device.queueSizes);
  }

  /** The attached back end, if there is one. */
  get backEnd(): RemoteBackEnd | undefined {
    return this.#backEnd;
  }

  /**
   * Attaches a back end, which goes on with all queues. Rejects with what the back end refused; then none is attached.
   */
  async attach(backEnd: RemoteBackEnd): Promise<void> {
    let isAttached = false;
    this.#backEnd = backEnd;
    backEnd.onGone = (reason) => {
      if (this.#backEnd !== backEnd) return;
      this.#backEnd = undefined;
      if (isAttached) this.onGone?.(reason);
    };
    try {
      await backEnd.exchange(() => this.#setUp(backEnd.requests, [...this.#running]));
      isAttached = true;
    } catch (problem) {
      await this.detach();
      throw problem;
    }
  }

  async #setUp(requests: FrontEndRequests, running: readonly [number, Running][]): Promise<void> {
    if (this.#regions.length > 0) await requests.shareMemory(this.#regions);
    if (this.#features !== undefined) await requests.setFeatures(this.#features);
    for (const [offset, { bytes }] of this.#configWrites) await requests.writeConfig(offset, bytes);
    const isInOrder = running.every(([, { base }]) => base !== undefined);
    await this.#inflight.share(requests, isInOrder);
    for (const [index, queue] of running) await this.#startQueue(requests, index, queue);
  }

  async #startQueue(requests: FrontEndRequests, index: number, queue: Running): Promise<void> {
    // While this waited for other exchanges, the queue may have been stopped, or the back end detached.
    if (this.#running.get(index) !== queue || this.#backEnd?.requests !== requests) return;
    // With the inflight area of the back end before it, a back end finds out by itself what is unfinished after the
    // used index.
    if (this.#inflight.isShared && !queue.broken) queue.base ??= queue.ring.usedIndex();
    const base = this.#baseOf(index, queue);
    if (base === undefined) return;
    queue.setup = { ...queue.setup, base };
    queue.base = undefined;
    const { call, kickFd } = queue.setup;
    try {
      await requests.startQueue(index, { ...queue.setup, callFd: fdOf(call) });
    } catch (refusal) {
      await requests.stopQueue(index); // it may have started
      this.#baseOf(index, queue);
      throw refusal;
    }
    // The back end before it may have read a kick and served nothing, or finished requests without a call.
    signal(kickFd);
    signal(fdOf(call));
  }

  /**
   * Returns where to go on, with no back end running the queue. Undefined if unknown: the queue is then broken, which
   * is logged.
   */
  #baseOf(index: number, queue: Running): number | undefined {
    if (queue.broken || queue.base !== undefined) return queue.base;
    const { features, base, errFd } = queue.setup;
    const eventIdx = (features & VIRTIO_F_EVENT_IDX) !== 0n;
    queue.base = resumeIndex({ ring: queue.ring, eventIdx, base });
    if (queue.base !== undefined) return queue.base;
    queue.broken = true;
    this.#log(
      `queue ${index} stopped until the driver resets it: its back end went away with requests finished out of order, and the ring does not show which are unfinished`,
    );
    signal(errFd);
    return undefined;
  }

  /** Stops every queue and detaches the back end, which the caller disposes. Requests wait until `attach`. */
  async detach(): Promise<void> {
    const stopped = [...this.#running].map(([index, queue]) => this.#stopInBackEnd(index, queue));
    this.#backEnd = undefined;
    await Promise.all(stopped);
  }

  /** Detaches and disposes the back end; waits at most a second for its queues to stop. */
  async leave(): Promise<void> {
    const backEnd = this.#backEnd;
    const slow = new AbortController();
    await Promise.race([this.detach(), sleep(SLOW_MS, undefined, { signal: slow.signal }).catch(() => {})]);
    slow.abort();
    backEnd?.[Symbol.dispose]();
  }

  /** Has the back end stop a queue. Afterwards none runs it, and `base` is known if the stop succeeded. */
  #stopInBackEnd(index: number, queue: Running): Promise<void> {
    const backEnd = this.#backEnd;
    if (queue.stopping !== undefined) return queue.stopping;
    if (backEnd === undefined || queue.broken || queue.base !== undefined) return Promise.resolve();
    queue.stopping = this.#stopIn(backEnd, index, queue).finally(() => {
      queue.stopping = undefined;
    });
    return queue.stopping;
  }

  async #stopIn(backEnd: RemoteBackEnd, index: number, queue: Running): Promise<void> {
    const { ring } = queue;
    try {
      if (backEnd.requests.isLibvhostUser) await this.#drainLibvhostUser(backEnd, index, queue);
      const base = await backEnd.exchange(() => backEnd.requests.stopQueue(index));
      // A back end may answer with requests still in flight. It has finished when the used index reaches the base.
      if (await this.#until(index, backEnd, () => ring.usedIndex() === base)) queue.base = base;
    } catch (problem) {
      if (backEnd.gone === undefined) this.#dropBackEnd(backEnd, problem as Error);
    }
  }

  /**
   * libvhost-user (of QEMU 7.2) closes its call eventfd with GET_VRING_BASE, and fails when it then finishes a request:
   * the others in flight are lost. So its kick eventfd is replaced by one that is never signalled, and this waits until
   * avail_event shows that it has finished what it took.
   */
  async #drainLibvhostUser(backEnd: RemoteBackEnd, index: number, { ring, setup }: Running): Promise<void> {
    const hasEventIdx = (setup.features & VIRTIO_F_EVENT_IDX) !== 0n;
    using silent = EventFd.create();
    await backEnd.exchange(() => backEnd.requests.setKick(index, silent.fd));
    const isIdle = hasEventIdx ? () => ring.words().availEvent === ring.usedIndex() : steady(() => ring.usedIndex());
    await this.#until(index, backEnd, () => isIdle() || ring.usedIndex() === ring.availableIndex());
  }

  /** Disconnects a back end that broke the protocol. */
  #dropBackEnd(backEnd: RemoteBackEnd, problem: Error): void {
    backEnd[Symbol.dispose]();
    backEnd.onGone?.(problem);
  }

  /** Polls until `condition` holds; returns false when the back end is gone. */
  async #until(index: number, backEnd: RemoteBackEnd, condition: () => boolean): Promise<boolean> {
    const startedMs = performance.now();
    for (let isLogged = false; !condition(); await sleep(CHECK_MS)) {
      if (backEnd.gone !== undefined) return false;
      if (isLogged || performance.now() - startedMs < SLOW_MS) continue;
      this.#log(`queue ${index} waits for requests that its back end has in flight`);
      isLogged = true;
    }
    return true;
  }

  async setMemory(regions: readonly SharedRegion[]): Promise<void> {
    this.#memory.set(regions);
    this.#regions = regions;
    await this.#send((requests) => requests.shareMemory(regions));
  }

  async start(index: number, setup: QueueSetup): Promise<void> {
    const ring = new SplitRing(setup.size, this.#memory.ring(splitFormat, setup.size, setup));
    const queue: Running = { setup, ring, base: setup.base, broken: false, stopping: undefined };
    this.#running.set(index, queue);
    try {
      await this.#send((requests) => this.#startQueue(requests, index, queue));
    } catch (problem) {
      this.#running.delete(index);
      throw problem;
    }
  }

  async stop(index: number): Promise<QueueStop> {
    const queue = this.#queue(index);
    await this.#stopInBackEnd(index, queue);
    const base = this.#baseOf(index, queue);
    this.#running.delete(index);
    return { base: base ?? splitFormat.firstBase, broken: base === undefined };
  }

  async setCall(index: number, call: CallTarget | undefined): Promise<void> {
    const queue = this.#queue(index);
    queue.setup = { ...queue.setup, call };
    await this.#send((requests) => requests.setCall(index, fdOf(call)));
    signal(fdOf(call));
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
      await this.#send((requests) => requests.setFeatures(features));
    } catch (problem) {
      this.#dropBackEnd(backEnd as RemoteBackEnd, problem as Error);
    }
  }

  async writeConfig(offset: number, bytes: Uint8Array): Promise<boolean> {
    const { config } = this.device;
    const before = config?.bytes.slice(offset, offset + bytes.length);
    if (before === undefined || config?.write?.(offset, bytes) !== true) return false;
    this.#configWrites.set(offset, { bytes, before: this.#configWrites.get(offset)?.before ?? before });
    await this.#sendOrLog((requests) => requests.writeConfig(offset, bytes));
    return true;
  }

  async reset(): Promise<void> {
    this.#features = undefined;
    const written = [...this.#configWrites];
    this.#configWrites.clear();
    await this.#sendOrLog((requests) => requests.resetDevice());
    // A back end keeps a front end's writes over a reset, because some front ends write once and reset before each
    // start.
    for (const [offset, { before }] of written)
      await this.#sendOrLog((requests) => requests.writeConfig(offset, before));
    await this.#sendOrLog((requests) => this.#inflight.share(requests, true));
    await this.#backEnd?.refreshConfig();
  }

  /** Unmaps guest memory. No queue may run. */
  [Symbol.dispose](): void {
    this.#inflight[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  /** As `#send`, but logs a refusal. */
  async #sendOrLog(send: (requests: FrontEndRequests) => Promise<void>): Promise<void> {
    try {
      await this.#send(send);
    } catch (problem) {
      this.#log((problem as Error).message);
    }
  }

  /**
   * Sends to the attached back end, if any; `attach` sends everything to the next one. Rejects with a refusal, not when
   * it is gone.
   */
  async #send(send: (requests: FrontEndRequests) => Promise<void>): Promise<void> {
    const backEnd = this.#backEnd;
    if (backEnd === undefined) return;
    try {
      await backEnd.exchange(() => send(backEnd.requests));
    } catch (problem) {
      if (backEnd.gone === undefined) throw problem;
    }
  }
}

/** Returns a function that returns whether the value has not changed for STEADY_MS. */
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

/** The eventfd of a call target: a back end in another process needs one. */
function fdOf(call: CallTarget | undefined): number | undefined {
  return call !== undefined && 'fd' in call ? call.fd : undefined;
}

function signal(fd: number | undefined): void {
  if (fd !== undefined) EventFd.borrow(fd).signal();
}
