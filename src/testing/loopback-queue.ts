// testing: one queue of a DeviceLoopback: its ring, its eventfds, and its completed chains.
import { EventFd } from '../sys/event-fd.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import type { LocalHost } from '../transports/queue/local-host.ts';
import type { QueueStop } from '../transports/queue/queue-host.ts';
import { ChainDriver, type ChainPieces, type UsedChain } from './chain-driver.ts';
import type { DriverMemory } from './driver-memory.ts';
import { DriverQueue, type DriverQueueOptions } from './driver-queue.ts';

/** What the queues of a loopback share. */
export interface LoopbackParts {
  readonly host: LocalHost;
  readonly loop: EventLoop;
  /** The lines that the device and its queues logged. */
  readonly lines: readonly string[];
}

/**
 * One queue of a DeviceLoopback: its ring, its notifications, and its completed chains. `DeviceLoopback` makes them.
 */
export class LoopbackQueue implements Disposable {
  /** Its index. */
  readonly index: number;
  /** How many notifications the device sent. */
  calls = 0;
  readonly #parts: LoopbackParts;
  readonly #kick = EventFd.create();
  readonly #err = EventFd.create();
  readonly #errWatch: Disposable;
  /** Completed chains that were not returned yet. */
  readonly #ready: UsedChain[] = [];
  /** Called when chains may have completed, or the queue broke. */
  readonly #waiting = new Set<() => void>();
  #driver!: ChainDriver;
  #features = 0n;
  #base = 0;
  #isRunning = false;
  #why: string | undefined;

  constructor(index: number, parts: LoopbackParts) {
    this.index = index;
    this.#parts = parts;
    this.#errWatch = parts.loop.watch(this.#err.fd, { readable: () => this.#broke() });
  }

  /** The driver's side of the ring. */
  get ring(): DriverQueue {
    return this.#driver.queue;
  }

  /** How many chains are not completed. */
  get inFlight(): number {
    return this.#driver.inFlight;
  }

  /** Whether it is broken until a reset: the device failed, or the driver broke a rule. */
  get isBroken(): boolean {
    return this.#why !== undefined;
  }

  /** Sets up a new ring in unused memory. */
  setUp(memory: DriverMemory, options: DriverQueueOptions): void {
    const { features = 0n, start = 0 } = options;
    this.#driver = new ChainDriver(memory, new DriverQueue(memory, options));
    this.#features = features;
    this.#base = start;
    this.#ready.length = 0;
  }

  /** Starts the queue where it stopped. */
  async start(): Promise<void> {
    if (this.#isRunning) return;
    this.#why = undefined;
    await this.#parts.host.start(this.index, {
      ...this.ring.addresses,
      size: this.ring.size,
      base: this.#base,
      features: this.#features,
      kickFd: this.#kick.fd,
      call: { notify: () => this.#called() },
      errFd: this.#err.fd,
    });
    this.#isRunning = true;
  }

  /** Stops the queue, as a paused VM does. Resolves when no request in flight touches memory. */
  async stop(): Promise<QueueStop | undefined> {
    if (!this.#isRunning) return undefined;
    const stop = await this.#parts.host.stop(this.index);
    this.#isRunning = false;
    this.#base = stop.base;
    return stop;
  }

  #called(): void {
    this.calls++;
    this.#wake();
  }

  #broke(): void {
    this.#err.clear();
    this.#why = this.#parts.lines.findLast((line) => line.startsWith(`queue ${this.index} `)) ?? 'the queue broke';
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Places a chain, which the device sees after `kick`. Returns its head. Throws RangeError without room. */
  add(chain: ChainPieces): number {
    return this.#driver.add(chain);
  }

  /** Publishes what was placed, and notifies the device if it requested that. */
  kick(): void {
    this.ring.publish();
    if (this.ring.needsKick()) this.#kick.signal();
  }

  /**
   * Returns completed chains that were not returned before, without waiting. Throws DeviceError when the device broke a
   * MUST.
   */
  harvest(): UsedChain[] {
    this.#ready.push(...this.#driver.harvest());
    return this.#ready.splice(0);
  }

  /**
   * Waits until `count` chains are completed that were not returned before, and returns all of them. Rejects when the
   * queue breaks.
   */
  async used(count = 1): Promise<UsedChain[]> {
    await this.#until(() => this.#ready.length >= count);
    return this.#ready.splice(0);
  }

  /** Places one chain and waits for it. Rejects when the queue breaks. */
  async request(chain: ChainPieces): Promise<UsedChain> {
    const head = this.add(chain);
    this.kick();
    const place = (): number => this.#ready.findIndex((used) => used.head === head);
    await this.#until(() => place() >= 0);
    return this.#ready.splice(place(), 1)[0] as UsedChain;
  }

  async #until(isThere: () => boolean): Promise<void> {
    for (;;) {
      this.#ready.push(...this.#driver.harvest());
      if (isThere()) return;
      if (this.#why !== undefined) throw new Error(this.#why);
      // More may have completed by now, for which no notification will come.
      if (this.ring.requestCalls()) continue;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  [Symbol.dispose](): void {
    this.#errWatch[Symbol.dispose]();
    this.#kick[Symbol.dispose]();
    this.#err[Symbol.dispose]();
  }
}
