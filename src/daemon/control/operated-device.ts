// control: a device that is served, as the control socket and the metrics see it: its name, its state, its size, its limits.
import { fstatSync, ftruncateSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Limit, type LimitScope, Limits } from '../../stores/filters/limits.ts';
import { formatSize } from '../../stores/size.ts';
import type { QueueReport } from '../../transports/queue/queue-report.ts';
import type { Log } from '../../virtio/log.ts';
import type { DeviceDaemon } from '../device-daemon.ts';
import type { DeviceSnapshot } from '../device-snapshot.ts';
import type { DeviceSource } from '../device-source.ts';
import type { DeviceProfile } from '../open-device.ts';

export interface OperatedDeviceOptions {
  readonly name: string;
  /** Where virtual machines connect. Absent: an inherited socket. */
  readonly socket?: string | undefined;
  readonly source: DeviceSource;
  readonly threads: number;
  readonly profile: DeviceProfile;
  readonly daemon: DeviceDaemon;
  /** Takes a line about a change. */
  readonly log: Log;
}

/** How long a thread may take to answer; what it said last holds then. */
const ANSWER_MS = 1000;
/** How long a new size may take to reach every thread. */
const RESIZE_MS = 5000;
const RESIZE_LOOK_MS = 2;

export class OperatedDevice {
  readonly options: OperatedDeviceOptions;
  readonly startedMs = performance.now();
  readonly limits: Limits | undefined;
  isPaused = false;
  /** A question to its threads that is open: a second asker gets the same answer. */
  #reports: Promise<readonly QueueReport[]> | undefined;
  #asked: Promise<void> | undefined;
  #askedMs = 0;
  #answerMs: number | undefined;
  #last: DeviceSnapshot | undefined;

  constructor(options: OperatedDeviceOptions) {
    this.options = options;
    const { source } = options;
    const memory = 'limits' in source ? source.limits : undefined;
    this.limits = memory === undefined ? undefined : new Limits(memory);
  }

  get name(): string {
    return this.options.name;
  }

  get kind(): DeviceSource['kind'] {
    return this.options.source.kind;
  }

  get isConnected(): boolean {
    return this.options.daemon.counts().isConnected;
  }

  /** Disks only: the size that the driver was told. */
  get sizeBytes(): number | undefined {
    return this.options.profile.sizeBytes === undefined ? undefined : this.options.daemon.counts().sizeBytes;
  }

  /** The state of its queues. */
  reports(): Promise<readonly QueueReport[]> {
    this.#reports ??= this.options.daemon.report().finally(() => {
      this.#reports = undefined;
    });
    return this.#reports;
  }

  /**
   * What its threads count without shared memory: bytes of what is no disk, dropped frames. If a thread does not answer
   * within a second, what was known before.
   */
  async snapshot(): Promise<DeviceSnapshot | undefined> {
    this.#ask();
    const late = new AbortController();
    await Promise.race([this.#asked, sleep(ANSWER_MS, undefined, { signal: late.signal, ref: false }).catch(() => {})]);
    late.abort();
    return this.#last;
  }

  #ask(): void {
    const askedMs = performance.now();
    if (this.#asked === undefined) this.#askedMs = askedMs;
    this.#asked ??= this.options.daemon.snapshot().then(
      (snapshot) => {
        this.#last = snapshot;
        this.#asked = undefined;
        this.#answerMs = performance.now() - askedMs;
      },
      () => {},
    );
  }

  /**
   * Asks its threads, and returns at once what they said before, and how long that took them, or how long they have not
   * answered.
   */
  probe(): { readonly snapshot: DeviceSnapshot | undefined; readonly answerSeconds: number | undefined } {
    const openMs = this.#asked === undefined ? 0 : performance.now() - this.#askedMs;
    this.#ask();
    const answerMs = openMs > 0 ? Math.max(openMs, this.#answerMs ?? 0) : this.#answerMs;
    return { snapshot: this.#last, answerSeconds: answerMs === undefined ? undefined : answerMs / 1000 };
  }

  /** Throws an Error with one line where it has no requests that could wait. */
  setPaused(isPaused: boolean): void {
    if (this.kind !== 'blk' && this.kind !== 'module' && this.kind !== 'rng')
      throw new Error(`${this.name} is no disk: only disks and sources of random numbers can be paused`);
    this.options.daemon.setPaused(isPaused);
    this.isPaused = isPaused;
    this.options.log(isPaused ? 'paused over the control socket' : 'not paused any more');
  }

  /** Sets a limit. Throws an Error with one line. */
  setLimit(limit: Limit, scope: LimitScope): void {
    if (this.limits === undefined) throw new Error(`${this.name} is no disk: only disks have limits that can change`);
    const { iops, bps, burst } = limit;
    // 0 is no limit.
    const set: Limit = { ...(iops && { iops }), ...(bps && { bps }) };
    const isLimited = set.iops !== undefined || set.bps !== undefined;
    this.limits.set({ ...set, ...(isLimited && burst !== undefined && { burst }) }, scope);
    const now = this.limits.get(scope);
    this.options.log(`the limit of ${scope} is iops=${now.iops}, bps=${now.bps} now (0: none)`);
  }

  /**
   * Makes the image larger, or reads the size of the store again. Resolves to the size when every thread has it. Rejects
   * with an Error with one line.
   */
  async resize(sizeBytes: number | undefined): Promise<number> {
    if (this.sizeBytes === undefined) throw new Error(`${this.name} is no disk: it has no size`);
    if (sizeBytes !== undefined) this.#growImage(sizeBytes);
    const { daemon } = this.options;
    const before = daemon.counts().refreshes;
    daemon.refresh();
    const startedMs = performance.now();
    while (daemon.counts().refreshes === before) {
      if (performance.now() - startedMs > RESIZE_MS)
        throw new Error(
          `${this.name}: its threads have not read the size for ${RESIZE_MS / 1000} s: its store keeps one`,
        );
      await sleep(RESIZE_LOOK_MS);
    }
    const now = this.sizeBytes;
    if (sizeBytes !== undefined && now !== sizeBytes)
      throw new Error(
        `${this.name}: the image has ${formatSize(sizeBytes)} now, but the size was not read: see the log`,
      );
    return now;
  }

  #growImage(sizeBytes: number): void {
    const { name } = this;
    const { source } = this.options;
    if (source.kind !== 'blk') throw new Error(`${name} is a module: its own size counts; leave the size out`);
    if (source.store.readOnly) throw new Error(`${name} is read-only: its image is not changed`);
    const before = fstatSync(source.store.fd);
    if (!before.isFile()) throw new Error(`${name} is a block device: resize that, then leave the size out`);
    if (source.store.name.startsWith('mem:')) throw new Error(`${name} is a disk of memory, which keeps its size`);
    const unit = Math.max(512, source.options.blockSize ?? 0);
    if (sizeBytes % unit !== 0)
      throw new Error(`${name}: ${sizeBytes} bytes are not a multiple of its block size, ${unit}`);
    if (sizeBytes < before.size)
      throw new Error(`${name} has ${formatSize(before.size)}: to make it smaller would cut off data of the guest`);
    ftruncateSync(source.store.fd, sizeBytes);
  }
}
