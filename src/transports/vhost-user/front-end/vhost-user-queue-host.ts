// Ground floor: has a device's queues run by a vhost-user back end, which may come and go: while there is none, requests wait in the rings.
import { EventFd } from '../../../sys/event-fd.ts';
import type { VirtioDevice } from '../../../virtio/device.ts';
import { VIRTIO_F_EVENT_IDX } from '../../../virtio/spec.ts';
import { SplitRing } from '../../../virtio/split/split-ring.ts';
import { MappedMemory } from '../../queue/mapped-memory.ts';
import type { QueueHost, QueueSetup, SharedRegion } from '../../queue/queue-host.ts';
import type { BackEnd } from './back-end.ts';
import type { Dialogue, FrontEndDialogue } from './front-end-dialogue.ts';
import { InflightNotes } from './inflight-notes.ts';
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
  /** Who waits for the back end to be done with it. */
  parking: (() => void)[] | undefined;
}

export class VhostUserQueueHost implements QueueHost, Disposable {
  /** The back end went away by itself; requests wait until `attach`. */
  onGone: ((reason: Error) => void) | undefined;
  readonly #device: VirtioDevice;
  readonly #log: (line: string) => void;
  readonly #running = new Map<number, Running>();
  #backEnd: BackEnd | undefined;
  #regions: readonly SharedRegion[] = [];
  #memory = new MappedMemory([]);
  #features: bigint | undefined;
  /** What the driver wrote to the configuration space, by offset. */
  readonly #written = new Map<number, Uint8Array>();
  readonly #inflight: InflightNotes;

  /** @param device what the driver sees: it judges its writes to the configuration space. Its queues run in the back end. */
  constructor(device: VirtioDevice, log: (line: string) => void) {
    this.#device = device;
    this.#log = log;
    this.#inflight = new InflightNotes(device.queueSizes);
  }

  /** The back end that runs the queues, if there is one. */
  get backEnd(): BackEnd | undefined {
    return this.#backEnd;
  }

  /** Has this back end run everything from now on, from where it stands. `done` gets why not; then there is none again. */
  attach(backEnd: BackEnd, done: (problem?: Error) => void): void {
    let isAttached = false;
    this.#backEnd = backEnd;
    backEnd.onGone = (reason) => {
      if (this.#backEnd !== backEnd) return;
      this.#backEnd = undefined;
      if (isAttached) this.onGone?.(reason);
    };
    backEnd.carry(this.#everything(backEnd.dialogue, [...this.#running]), (problem) => {
      isAttached = problem === undefined;
      if (isAttached) done();
      else this.detach(() => done(problem));
    });
  }

  *#everything(dialogue: FrontEndDialogue, running: readonly [number, Running][]): Dialogue<void> {
    if (this.#regions.length > 0) yield* dialogue.shareMemory(this.#regions);
    if (this.#features !== undefined) yield* dialogue.setFeatures(this.#features);
    for (const [offset, bytes] of this.#written) yield* dialogue.writeConfig(offset, bytes);
    const isInOrder = running.every(([, { base }]) => base !== undefined);
    yield* this.#inflight.share(dialogue, isInOrder);
    for (const [index, queue] of running) yield* this.#startQueue(dialogue, index, queue);
  }

  *#startQueue(dialogue: FrontEndDialogue, index: number, queue: Running): Dialogue<void> {
    // While this waited its turn, the queue may have been stopped, or all of them taken elsewhere.
    if (this.#running.get(index) !== queue || this.#backEnd?.dialogue !== dialogue) return;
    // A back end that was given its predecessor's notes finds out by itself what is unfinished, from the used index on.
    if (this.#inflight.isShared && !queue.broken) queue.base ??= queue.ring.usedIndex();
    const base = this.#baseOf(index, queue);
    if (base === undefined) return;
    queue.setup = { ...queue.setup, base };
    queue.base = undefined;
    try {
      yield* dialogue.startQueue(index, queue.setup);
    } catch (refusal) {
      yield* dialogue.stopQueue(index); // it may have begun all the same
      this.#baseOf(index, queue);
      throw refusal;
    }
    // Its predecessor may have heard a kick that it did not live to serve, and not told of what it finished last.
    ringOnce(queue.setup.kickFd);
    ringOnce(queue.setup.callFd);
  }

  /** Where to go on, with no back end running the queue. Undefined: nobody knows, and the driver is told. */
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
  detach(done: () => void): void {
    let left = this.#running.size + 1;
    const parked = (): void => {
      if (--left === 0) done();
    };
    for (const [index, queue] of this.#running) this.#park(index, queue, parked);
    this.#backEnd = undefined;
    parked();
  }

  /** Leaves the back end for good: in an orderly way if it stops its queues within a second, else as it is. */
  async leave(): Promise<void> {
    const backEnd = this.#backEnd;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, SLOW_MS);
    this.detach(resolve);
    await promise;
    clearTimeout(timer);
    backEnd?.[Symbol.dispose]();
  }

  /** When `done` is called no back end runs the queue, and `base` is known if it stopped in an orderly way. */
  #park(index: number, queue: Running, done: () => void): void {
    if (queue.parking !== undefined) return void queue.parking.push(done);
    const backEnd = this.#backEnd;
    if (backEnd === undefined || queue.broken || queue.base !== undefined) return done();
    queue.parking = [done];
    const conclude = (base: number | undefined): void => {
      const waiting = queue.parking ?? [];
      queue.base = base;
      queue.parking = undefined;
      for (const one of waiting) one();
    };
    this.#quieten(index, queue, backEnd, () => {
      backEnd.carry(backEnd.dialogue.stopQueue(index), (problem, base) => {
        if (base === undefined) {
          if (backEnd.gone === undefined) this.#giveUp(backEnd, problem as Error);
          return conclude(undefined);
        }
        // One may answer while requests that it took are in flight. Their number is in the ring: nobody else may serve it before.
        this.#until(
          index,
          backEnd,
          () => queue.ring.usedIndex() === base,
          (isSo) => conclude(isSo ? base : undefined),
        );
      });
    });
  }

  /**
   * libvhost-user (of QEMU 7.2) closes its call eventfd with GET_VRING_BASE, and gives up on the next request it finishes: the others in
   * flight are lost. It is given a kick eventfd that nobody rings, and asked when it has finished what it took, as avail_event tells.
   */
  #quieten(index: number, queue: Running, backEnd: BackEnd, then: () => void): void {
    const { ring, setup } = queue;
    const hasEventIdx = (setup.features & VIRTIO_F_EVENT_IDX) !== 0n;
    if (!backEnd.dialogue.isLibvhostUser) return then();
    const silent = EventFd.create();
    backEnd.carry(backEnd.dialogue.setKick(index, silent.fd), () => {
      silent[Symbol.dispose]();
      const isQuiet = hasEventIdx ? () => ring.words().availEvent === ring.usedIndex() : steady(() => ring.usedIndex());
      this.#until(index, backEnd, () => isQuiet() || ring.usedIndex() === ring.availableIndex(), then);
    });
  }

  /** It does not keep to the protocol. */
  #giveUp(backEnd: BackEnd, problem: Error): void {
    backEnd[Symbol.dispose]();
    backEnd.onGone?.(problem);
  }

  /** Looks until it is so, or until the back end is gone, which it then says. */
  #until(index: number, backEnd: BackEnd, isSo: () => boolean, done: (isSo: boolean) => void): void {
    const startedMs = performance.now();
    let isTold = false;
    const look = (): void => {
      if (isSo()) return done(true);
      if (backEnd.gone !== undefined) return done(false);
      if (!isTold && performance.now() - startedMs > SLOW_MS) {
        this.#log(`queue ${index} waits for requests that its back end has in flight`);
        isTold = true;
      }
      setTimeout(look, LOOK_MS);
    };
    look();
  }

  setMemory(regions: readonly SharedRegion[], done: (problem?: Error) => void): void {
    try {
      const memory = new MappedMemory(regions);
      this.#memory[Symbol.dispose]();
      this.#memory = memory;
    } catch (error) {
      return done(error as Error);
    }
    this.#regions = regions;
    this.#tell((dialogue) => dialogue.shareMemory(regions), done);
  }

  start(index: number, setup: QueueSetup, done: (problem?: Error) => void): void {
    let queue: Running;
    try {
      const ring = new SplitRing(this.#memory.ringAt(setup));
      queue = { setup, ring, base: setup.base, broken: false, parking: undefined };
    } catch (error) {
      return done(error as Error);
    }
    this.#running.set(index, queue);
    this.#tell(
      (dialogue) => this.#startQueue(dialogue, index, queue),
      (problem) => {
        if (problem !== undefined) this.#running.delete(index);
        done(problem);
      },
    );
  }

  stop(index: number, done: (base: number, broken: boolean) => void): void {
    const queue = this.#running.get(index) as Running;
    this.#park(index, queue, () => {
      const base = this.#baseOf(index, queue);
      this.#running.delete(index);
      done(base ?? 0, base === undefined);
    });
  }

  setCall(index: number, callFd: number | undefined, done: () => void): void {
    const queue = this.#running.get(index) as Running;
    queue.setup = { ...queue.setup, callFd };
    this.#tell(
      (dialogue) => dialogue.setCall(index, callFd),
      () => {
        ringOnce(callFd);
        done();
      },
    );
  }

  activate(features: bigint): void {
    this.#device.activate?.(features);
    this.#features = features;
    const backEnd = this.#backEnd;
    this.#tell(
      (dialogue) => dialogue.setFeatures(features),
      (problem) => {
        if (problem !== undefined) this.#giveUp(backEnd as BackEnd, problem);
      },
    );
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    if (this.#device.writeConfig?.(offset, bytes) !== true) return false;
    this.#written.set(offset, bytes);
    this.#tell((dialogue) => dialogue.writeConfig(offset, bytes), this.#report);
    return true;
  }

  reset(): void {
    this.#device.reset?.();
    this.#features = undefined;
    this.#written.clear();
    this.#tell((dialogue) => dialogue.resetDevice(), this.#report);
    this.#tell((dialogue) => this.#inflight.share(dialogue, true), this.#report);
    this.#backEnd?.refreshConfig();
  }

  /** Gives the guest's memory back. No queue runs. */
  [Symbol.dispose](): void {
    this.#inflight[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  readonly #report = (problem?: Error): void => {
    if (problem !== undefined) this.#log(problem.message);
  };

  /** Tells the back end, if there is one; the next one is told with everything else. `done` gets what it refused, not that it went. */
  #tell(say: (dialogue: FrontEndDialogue) => Dialogue<void>, done: (problem?: Error) => void): void {
    const backEnd = this.#backEnd;
    if (backEnd === undefined) return done();
    backEnd.carry(say(backEnd.dialogue), (problem) => done(backEnd.gone === undefined ? problem : undefined));
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

function ringOnce(fd: number | undefined): void {
  if (fd !== undefined) EventFd.borrow(fd).signal();
}
