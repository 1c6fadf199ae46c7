// virtio: the device's side of a split virtqueue (§2.7). Only its owner thread uses it.
import type { DescriptorChain } from '../descriptor-chain.ts';
import type { ExpectBatch, ServeChain } from '../device-queue.ts';
import { DriverError } from '../errors.ts';
import type { GuestMemory } from '../guest-memory.ts';
import { InFlightLimit } from '../in-flight-limit.ts';
import { newQueueCounters, type QueueCounters } from '../queue-counters.ts';
import type { PoppedRequest, QueueOptions, QueueState, RunnableQueue } from '../ring-format.ts';
import { AvailableRequests } from './available-requests.ts';
import { SplitInFlight } from './split-in-flight.ts';
import { SplitNotification } from './split-notification.ts';
import type { SplitRing } from './split-ring.ts';

/** Requests popped, served and published together at most: the first completion must not wait for all others. */
export const BATCH_MAX = 32;
/**
 * A batch is also published after so many bytes, and after each request while the device takes longer than this for
 * one.
 */
const BATCH_BYTES = 128 * 1024;
const SLOW_MS = 0.1;
/**
 * The limits of one `drain`, so that other queues have their turn. A turn of the loop costs about as much as 16 small
 * requests (epoll_wait(2)), so there are many of those in a drain.
 */
export const DRAIN_MAX = 1024;
export const DRAIN_BYTES = 16 * 2 ** 20;
export const DRAIN_MS = 2;

const NEVER = new AbortController().signal;
const UNBOUNDED = { requests: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

/** A split virtqueue. Its base is the available index up to which requests were popped. */
export class SplitQueue implements RunnableQueue {
  readonly counters: QueueCounters;
  readonly signal: AbortSignal;
  readonly #ring: SplitRing;
  readonly #memory: GuestMemory;
  readonly #notification: SplitNotification;
  readonly #options: QueueOptions;
  readonly #requests: AvailableRequests;
  readonly #limit: InFlightLimit;
  /** Of the requests in flight, for the next process. */
  readonly #record: SplitInFlight | undefined;
  readonly #batch: DescriptorChain[] = [];
  /** The error of the driver that ended a batch early. It is thrown after the requests before it were served. */
  #driverError: unknown;
  #nextAvail: number;
  #nextUsed: number;
  #published: number;
  /** In flight: popped by `drain` (with their bytes), and by `take`. */
  #inService = 0;
  #bytesInService = 0;
  #taken = 0;
  #polled = false;
  #inBatch = false;
  #closed = false;
  #slowBatches = 0;
  /** Of the current drain. */
  #served = 0;
  #servedBytes = 0;
  #nowMs = 0;
  #endMs = 0;
  #onIdle: (() => void) | undefined;

  constructor(ring: SplitRing, memory: GuestMemory, options: QueueOptions) {
    this.counters = options.counters ?? newQueueCounters();
    this.signal = options.signal ?? NEVER;
    this.#ring = ring;
    this.#memory = memory;
    this.#options = options;
    this.#requests = new AvailableRequests(ring, memory, options.features);
    this.#notification = new SplitNotification(ring, options.features);
    this.#limit = options.inFlight ?? new InFlightLimit(UNBOUNDED);
    this.#nextAvail = options.base ?? 0;
    this.#nextUsed = this.#published = ring.usedIndex();
    if (options.inFlightArea !== undefined) this.#record = this.#recover(options.inFlightArea);
  }

  /** Goes on with what another process left in flight: it is popped again, before all others. */
  #recover(area: Uint8Array): SplitInFlight {
    const record = new SplitInFlight(this.#ring, area);
    const { heads, problem } = record.recover();
    if (problem !== undefined) this.#options.log?.(`the record of requests in flight is ignored: ${problem}`);
    if (heads.length > 0) {
      this.#nextAvail = this.#nextUsed;
      this.#requests.replace(this.#nextAvail, heads);
    }
    return record;
  }

  /** The available index up to which requests were popped. */
  get base(): number {
    return this.#nextAvail;
  }

  get inFlight(): number {
    return this.#inService + this.#taken;
  }

  get inService(): number {
    return this.#inService;
  }

  hasWork(): boolean {
    return this.#ring.availableIndex() !== this.#nextAvail && !this.#closed;
  }

  drain(serve: ServeChain, expect?: ExpectBatch): void {
    if (this.#closed) return;
    this.#served = this.#servedBytes = 0;
    this.#nowMs = performance.now();
    this.#endMs = this.#nowMs + DRAIN_MS;
    try {
      if (!this.#polled) this.#notification.disable();
      do {
        for (let available = this.#available(); available > 0; available = this.#available()) {
          // Neither rearms notifications: the call that follows reads the ring, as the poller of a polled one does.
          if (this.#limit.isReached) return this.#limit.whenRoom(this.#options.again);
          if (this.#isTurnOver()) return this.#polled ? undefined : this.#options.again();
          this.#serveBatch(available, serve, expect);
        }
      } while (!this.#polled && this.#notification.enable(this.#nextAvail));
    } catch (error) {
      this.#break(error as Error);
    }
  }

  /** Requests that the driver has made available and that were not popped. */
  #available(): number {
    return (this.#ring.availableIndex() - this.#nextAvail) & 0xffff;
  }

  #isTurnOver(): boolean {
    return this.#served >= DRAIN_MAX || this.#servedBytes >= DRAIN_BYTES || this.#nowMs > this.#endMs;
  }

  #serveBatch(available: number, serve: ServeChain, expect: ExpectBatch | undefined): void {
    const startedMs = this.#nowMs;
    const [inServiceBefore, bytesBefore] = [this.#inService, this.#bytesInService];
    const loaded = this.#load(available);
    if (loaded > 0) expect?.(this.#batch, loaded);
    let served = 0;
    this.#inBatch = true;
    try {
      served = this.#serveLoaded(serve, loaded, bytesBefore + this.#limit.roomBytes);
      this.publish();
    } finally {
      this.#inBatch = false;
      const added = this.#inService - inServiceBefore;
      if (added !== 0) this.#limit.change(added, this.#bytesInService - bytesBefore);
    }
    this.#nowMs = performance.now();
    if (served > 0) this.#recordLatency(this.#nowMs - startedMs);
    this.#slowBatches = this.#nowMs - startedMs > served * SLOW_MS ? this.#slowBatches + 1 : 0;
    const driverError = this.#driverError;
    if (driverError !== undefined && served === loaded) throw driverError;
  }

  /** Loads a batch. Returns the number of its requests. */
  #load(available: number): number {
    const wanted = Math.min(available, BATCH_MAX, this.#limit.room);
    let count = 0;
    this.#driverError = undefined;
    try {
      this.#checkOutstanding(available);
      for (; count < wanted; count++)
        this.#batch[count] = this.#requests.load((this.#nextAvail + count) & 0xffff, this.#nowMs);
    } catch (error) {
      this.#driverError = error;
    }
    return count;
  }

  #checkOutstanding(available: number): void {
    const outstanding = available + this.inFlight;
    if (outstanding > this.#ring.size)
      throw new DriverError('§2.7.13', `${outstanding} requests on a queue of ${this.#ring.size}`);
  }

  /** Serves the loaded requests, and returns how many. At a limit of the drain the rest stays in the ring. */
  #serveLoaded(serve: ServeChain, loaded: number, bytesInServiceMax: number): number {
    let served = 0;
    let unpublished = 0;
    while (served < loaded) {
      const chain = this.#batch[served++] as DescriptorChain;
      const bytes = chain.totalBytes;
      this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
      this.#record?.popped(chain.head);
      serve(chain, this);
      this.#inService++; // not counted if the device threw
      this.#bytesInService += bytes;
      this.#servedBytes += bytes;
      unpublished += bytes;
      if (unpublished >= BATCH_BYTES || this.#slowBatches > 1) {
        this.publish();
        unpublished = 0;
      }
      const isSlow = this.#slowBatches > 0 && performance.now() > this.#endMs;
      if (isSlow || this.#servedBytes >= DRAIN_BYTES || this.#bytesInService >= bytesInServiceMax) break;
    }
    for (let i = served; i < loaded; i++) this.#requests.release(this.#batch[i] as DescriptorChain);
    this.#served += served;
    return served;
  }

  take(): DescriptorChain | undefined {
    if (this.#closed) return undefined;
    try {
      if (!this.hasWork() && (this.#polled || !this.#notification.enable(this.#nextAvail))) return undefined;
      this.#checkOutstanding(this.#available());
      const chain = this.#requests.load(this.#nextAvail, performance.now());
      chain.takenFrom = this.#nextAvail;
      this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
      this.#record?.popped(chain.head);
      this.#taken++;
      return chain;
    } catch (error) {
      this.#break(error as Error);
      return undefined;
    }
  }

  untake(chain: DescriptorChain): void {
    const before = (this.#nextAvail - 1) & 0xffff;
    if (chain.takenFrom !== before) throw new Error('untake: not the buffer that was taken last');
    chain.takenFrom = undefined;
    this.#record?.unpopped(chain.head);
    this.#nextAvail = before;
    this.#taken--;
    this.#requests.release(chain);
    this.#checkIdle();
  }

  markUsed(chain: DescriptorChain, written: number): void {
    const { dirty } = this.#memory;
    // All that it could write: of a request that failed, `written` does not say where the device wrote.
    if (dirty !== undefined) chain.writable.markDirty(dirty);
    this.#ring.setUsed(this.#nextUsed, chain.head, written);
    this.#record?.used(chain.head);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    const bytes = chain.totalBytes;
    const isLate = !this.#inBatch;
    this.#requests.release(chain);
    if (chain.takenFrom !== undefined) {
      chain.takenFrom = undefined;
      this.#taken--;
      return;
    }
    this.#inService--;
    this.#bytesInService -= bytes;
    if (!isLate) return;
    this.#recordLatency(performance.now() - chain.poppedAtMs);
    this.#limit.change(-1, -bytes);
  }

  get isRecorded(): boolean {
    return this.#record !== undefined;
  }

  leave(chain: DescriptorChain): void {
    if (!this.isRecorded) throw new Error('leave: no process after this one would know of the request');
    const bytes = chain.totalBytes;
    this.#requests.release(chain);
    this.#inService--;
    this.#bytesInService -= bytes;
    if (!this.#inBatch) this.#limit.change(-1, -bytes);
    this.#checkIdle();
  }

  #recordLatency(tookMs: number): void {
    this.#options.latency?.record(Math.max(1, Math.round(tookMs * 1e6)));
  }

  again(): void {
    this.#options.again();
  }

  publish(): void {
    const before = this.#published;
    const now = this.#nextUsed;
    if (before !== now) {
      this.#published = now;
      this.#ring.setUsedIndex(now);
      if (this.#memory.dirty !== undefined) this.#ring.markDirty(this.#memory);
      this.#record?.published(now);
      this.counters.requests += (now - before) & 0xffff;
      this.counters.batches++;
      if (this.#notification.wantsCall(before, now)) {
        this.counters.calls++;
        this.#options.notify();
      }
    }
    this.counters.inFlight = this.inFlight;
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#onIdle !== undefined && this.inFlight === 0 && this.#published === this.#nextUsed) this.#onIdle();
  }

  whenIdle(callback: () => void): void {
    this.#onIdle = () => {
      this.#onIdle = undefined;
      callback();
    };
    this.#checkIdle();
  }

  suppress(): void {
    this.#polled = true;
    this.#notification.silence(this.#nextAvail);
  }

  rearm(): boolean {
    this.#polled = false;
    return this.#notification.enable(this.#nextAvail) && !this.#closed;
  }

  close(): void {
    this.#closed = true;
    // avail_event or flags may have been written since the last publish.
    this.#ring.markDirty(this.#memory);
  }

  #break(problem: Error): void {
    this.#closed = true;
    this.publish();
    if (this.#options.broken === undefined) throw problem;
    this.#options.broken(problem);
  }

  oldest(most: number): PoppedRequest[] {
    return this.#requests.oldest(most, performance.now());
  }

  state(): QueueState {
    const words = this.#ring.words();
    return {
      words: { ...words },
      popped: this.#nextAvail,
      givenBack: this.#nextUsed,
      inFlight: this.inFlight,
      waiting: (words.availableIndex - this.#nextAvail) & 0xffff,
      polled: this.#polled,
    };
  }
}
