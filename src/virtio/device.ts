// Cellar: what a transport knows of a device, and what a device may ask of whatever runs it.

import type { DeviceQueue } from './device-queue.ts';
import type { Log } from './log.ts';

/** The device configuration space, §2.5. */
export interface DeviceConfig {
  /** As the driver reads it, little-endian. Its length stays. Change it, then call `context.configChanged()`. */
  readonly bytes: Uint8Array;
  /** The driver writes `bytes` at `offset`. Returns false where that field is not writable. Absent: none is. */
  write?(offset: number, bytes: Uint8Array): boolean;
}

/**
 * A virtio device. What is absent is something it does not do. A device whose queues run on several threads is made once on each: every
 * call but those about single queues reaches all of them.
 *
 * @example A device that ends every request at once:
 * const sink: VirtioDevice = {
 *   type: 42, features: 0n, queueSizes: [256],
 *   process: (_, queue) => queue.drain((chain) => queue.markUsed(chain, 0)),
 * };
 */
export interface VirtioDevice {
  /** The device type, §5: VIRTIO_ID_BLOCK, … */
  readonly type: number;
  /** Feature bits offered: those of the device type (0 to 23, 50 to 127). The ring's and the transport's come from the transport. */
  readonly features: bigint;
  /** The largest size of each queue, a power of two up to 32768; its length is the number of queues. Drivers want 128 to 1024. */
  readonly queueSizes: readonly number[];
  /** Absent: a configuration space of no bytes. */
  readonly config?: DeviceConfig;
  /** How many requests it takes at once on a thread, over all queues; more wait in the rings. 1024 unless said. */
  readonly maxInFlight?: number;
  /** Queues with the same number share a thread, and with it one instance of the device. Absent: any two may be apart. */
  threadOf?(queue: number): number;
  /** Before anything else, for a device that changes while no driver uses it. `start` passes the same. */
  attach?(context: DeviceContext): void;
  /**
   * The driver accepted `features` and is about to use the device: DRIVER_OK, or its first queue starts. Called again when it accepts
   * others. What the driver chose before (a configuration field) holds.
   */
  start?(features: bigint, context: DeviceContext): void;
  /** The queue runs from now on. */
  queueStarted?(index: number, queue: DeviceQueue): void;
  /**
   * The queue is to stop: finish, give back or `untake` what is held of it. It takes no more requests; it has stopped when the promise
   * is fulfilled and every request has been given back.
   */
  queueStopping?(index: number): void | Promise<void>;
  /** There may be work in a queue: drain it, or take from it. */
  process(index: number, queue: DeviceQueue): void;
  /** Back to how it was made, §2.1: the driver resets the device, or the next one comes. No queue runs. */
  reset?(): void | Promise<void>;
  /** Nobody will use it any more: gives back what it was made with. No queue runs, and its context has ended. */
  close?(): void | Promise<void>;
}

/** What a device may ask for, on the thread it runs on. Everything ends with the device's being closed. */
export interface DeviceContext {
  /** Calls back while `fd` can be read or takes output, until disposed. */
  watch(fd: number, handlers: { readonly readable?: () => void; readonly writable?: () => void }): Disposable;
  /** Calls `task` once, after `delayMs`, unless disposed before. */
  timer(delayMs: number, task: () => void): Disposable;
  /** Tells the user one line, and programs what it is about. What repeats is cut down. */
  readonly log: Log;
  /** The configuration space has changed: tells the driver, §2.3. */
  configChanged(): void;
  /** The device is in an error that only a reset ends, §2.1.2: tells the driver and the user. */
  needsReset(why: string): void;
}

/** What a driver may accept: it "MUST NOT accept a feature which the device did not offer", §2.2.1. */
export function unofferedFeatures(accepted: bigint, offered: bigint): bigint {
  return accepted & ~offered;
}
