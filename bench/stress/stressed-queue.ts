// bench/stress: one queue between two threads, and a watcher that reads its state from another thread.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventFd } from '../../src/sys/event-fd.ts';
import { moduleBeside } from '../../src/sys/thread.ts';
import { DriverMemory, DriverQueue } from '../../src/testing/index.ts';
import { SplitRing } from '../../src/virtio/split/split-ring.ts';
import { pendingCount } from '../load/completion-wait.ts';
import { BenchThread, type RunningJob } from '../threads/bench-thread.ts';
import { GUEST_BASE, ringFeatures } from '../threads/ring-memory.ts';
import { SharedQueue } from '../threads/shared-queue.ts';
import { SideWords } from './side-words.ts';
import { describeStall, type Loss, lossBetween, type QueueSnapshot } from './stall.ts';
import type { DeviceStressCounts, Mutation, StressJob, StressSetup } from './stress-job.ts';

export interface Episode {
  readonly requests: number;
  readonly seed: number;
  readonly eventIdx: boolean;
  readonly size: number;
  /** Where the ring's indices start. */
  readonly start: number;
  readonly mutation: Mutation;
  readonly driverCpu: number;
  readonly deviceCpu: number;
  /** The episode is stopped after this time, which is no failure. */
  readonly timeoutMs: number;
}

export interface EpisodeCounts {
  readonly requests: number;
  readonly kicks: number;
  readonly calls: number;
  readonly driverSleeps: number;
  readonly deviceSleeps: number;
  readonly batches: number;
}

/** A notification that was lost, or nothing done for a minute. */
export interface Stall {
  readonly kind: Loss | 'progress';
  /** The state of both sides, several lines. */
  readonly report: string;
}

export interface EpisodeEnd {
  readonly counts: EpisodeCounts;
  readonly stall: Stall | undefined;
}

const DRIVER = moduleBeside('./driver-thread', import.meta.url);
const DEVICE = moduleBeside('./device-thread', import.meta.url);
const MEMORY_BYTES = 1 << 20;
/** Time between two reads of the state; far longer than any pause of either side. */
const LOOK_MS = 200;
/** Reads, a minute of them, without a completed request: a failure of its own. */
const IDLE_LOOKS_MAX = 300;

interface Parts {
  readonly queue: SharedQueue;
  readonly stopDevice: EventFd;
  readonly driverWords: SideWords;
  readonly deviceWords: SideWords;
  readonly driver: BenchThread<StressJob, void>;
  readonly device: BenchThread<StressJob, DeviceStressCounts>;
  readonly resources: AsyncDisposableStack;
}

export class StressedQueue implements AsyncDisposable {
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Starts the threads. Throws SystemError. */
  static async open(): Promise<StressedQueue> {
    await using resources = new AsyncDisposableStack();
    const queue = resources.use(new SharedQueue('belfry-stress', MEMORY_BYTES));
    const stopDevice = resources.use(EventFd.create());
    const [driverWords, deviceWords] = [new SideWords(), new SideWords()];
    const setup: StressSetup = {
      memory: queue.memory,
      kickFd: queue.kick.fd,
      callFd: queue.call.fd,
      stopFd: stopDevice.fd,
      stop: queue.stop.shared,
      driverWords: driverWords.shared,
      deviceWords: deviceWords.shared,
    };
    const begin = async <Result>(program: URL, stop: () => void): Promise<BenchThread<StressJob, Result>> =>
      resources.use(await BenchThread.start<StressJob, Result>(program, setup, stop));
    const driver = await begin<void>(DRIVER, () => queue.stop.set(true));
    const device = await begin<DeviceStressCounts>(DEVICE, () => stopDevice.signal());
    return new StressedQueue({
      queue,
      stopDevice,
      driverWords,
      deviceWords,
      driver,
      device,
      resources: resources.move(),
    });
  }

  /** Drives the requests of an episode through a new queue, until something is lost. Throws what a thread threw. */
  async episode({ eventIdx, timeoutMs, ...rest }: Episode): Promise<EpisodeEnd> {
    const { queue, stopDevice, driver, device, driverWords, deviceWords } = this.#parts;
    const features = ringFeatures(eventIdx);
    queue.stop.set(false);
    for (const bell of [queue.kick, queue.call, stopDevice]) bell.clear();
    for (const words of [driverWords, deviceWords]) words.clear();
    // The driver's thread lays out the same ring at the same place.
    const ring = new DriverQueue(new DriverMemory(queue.mapping.bytes, GUEST_BASE), { ...rest, features });
    const job: StressJob = { ...rest, features, addresses: ring.addresses };
    // The device starts on a ring that is in use already.
    const driving = driver.run(job);
    await driving.ready;
    const serving = device.run(job);
    await serving.ready;
    const stall = await this.#watch([driving, serving], new SplitRing(ring.size, ring.layout), timeoutMs);
    queue.stop.set(true);
    await driving.result;
    stopDevice.signal();
    const { batches } = await serving.result;
    const [drove, served] = [driverWords.read(), deviceWords.read()];
    const counts = {
      requests: drove.done,
      kicks: drove.sent,
      calls: served.sent,
      driverSleeps: drove.sleeps,
      deviceSleeps: served.sleeps,
      batches,
    };
    return { counts, stall };
  }

  /** Reads the state until a thread has ended, something is lost, or time is up. */
  async #watch(jobs: readonly RunningJob<unknown>[], ring: SplitRing, timeoutMs: number): Promise<Stall | undefined> {
    const ended = Promise.race(jobs.map(({ result }) => result)).then(() => 'ended' as const);
    const endMs = Date.now() + timeoutMs;
    let before = this.#look(ring);
    for (let idleLooks = 1; Date.now() < endMs; idleLooks++) {
      if ((await Promise.race([ended, sleep(LOOK_MS)])) === 'ended') return undefined;
      const now = this.#look(ring);
      const loss = lossBetween(before, now);
      if (now.driver.done !== before.driver.done) idleLooks = 0;
      const kind = loss ?? (idleLooks > IDLE_LOOKS_MAX ? 'progress' : undefined);
      if (kind !== undefined) return { kind, report: describeStall(kind, now) };
      before = now;
    }
    return undefined;
  }

  #look(ring: SplitRing): QueueSnapshot {
    const { queue, driver, device, driverWords, deviceWords } = this.#parts;
    return {
      atMs: Date.now(),
      ring: ring.words(),
      driver: driverWords.read(),
      device: deviceWords.read(),
      driverSleeps: isAsleep(driver.thread),
      deviceSleeps: isAsleep(device.thread),
      kicksPending: pendingCount(queue.kick.fd),
      callsPending: pendingCount(queue.call.fd),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.resources.disposeAsync();
  }
}

/** Whether a thread of this process sleeps. proc_pid_stat(5). */
function isAsleep(thread: number): boolean {
  const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).startsWith('S');
}
