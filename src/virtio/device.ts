// virtio: the interface between a transport and a device.

import type { DeviceQueue } from './device-queue.ts';
import type { Log } from './log.ts';

/** The device configuration space, §2.5. */
export interface DeviceConfig {
  /** As the driver reads it, little-endian. Its length is fixed. After a change call `context.configChanged()`. */
  readonly bytes: Uint8Array;
  /** The driver writes `bytes` at `offset`. Returns false where that field is not writable. Absent: no field is. */
  write?(offset: number, bytes: Uint8Array): boolean;
}

/**
 * A virtio device. Optional members that are absent mean that it does not do that. A device whose queues run on several
 * threads has an instance on each: calls that are not about a single queue reach all instances.
 *
 * @example A device that completes every request at once:
 * const sink: VirtioDevice = {
 *   type: 42, features: 0n, queueSizes: [256],
 *   process: (_, queue) => queue.drain((chain) => queue.markUsed(chain, 0)),
 * };
 */
export interface VirtioDevice {
  /** The device type, §5: VIRTIO_ID_BLOCK, … */
  readonly type: number;
  /**
   * Feature bits offered: those of the device type (0 to 23, 50 to 127). The ring's and the transport's come from the
   * transport.
   */
  readonly features: bigint;
  /**
   * The largest size of each queue, a power of two up to 32768; its length is the number of queues. Drivers want 128 to
   * 1024.
   */
  readonly queueSizes: readonly number[];
  /** Absent: a configuration space of no bytes. */
  readonly config?: DeviceConfig;
  /** Requests in flight at most on a thread, over all queues; more wait in the rings. Default 1024. */
  readonly maxInFlight?: number;
  /**
   * False while requests may have left promises to settle, which takes a turn of Node's loop. Absent: while requests are
   * in flight.
   */
  readonly isSettled?: boolean;
  /**
   * Queues with the same number share a thread, and so one instance of the device. Absent: each queue may have its own
   * thread.
   */
  threadOf?(queue: number): number;
  /**
   * Called before any other function, for a device that changes while no driver uses it. `start` passes the same
   * context.
   */
  attach?(context: DeviceContext): void;
  /**
   * The driver accepted `features` and is about to use the device: DRIVER_OK, or its first queue starts. Called again
   * when it accepts other features. Configuration fields that the driver wrote before stay as they are.
   */
  start?(features: bigint, context: DeviceContext): void;
  /** The queue runs from now on. */
  queueStarted?(index: number, queue: DeviceQueue): void;
  /**
   * The queue is to stop: complete its requests with `markUsed`, or `untake` buffers that were taken. No more requests
   * are popped. The queue has stopped when the promise is fulfilled and no request is in flight.
   */
  queueStopping?(index: number): void | Promise<void>;
  /** There may be requests in a queue: `drain` it, or `take` from it. */
  process(index: number, queue: DeviceQueue): void;
  /** Returns to the initial state, §2.1: the driver resets the device, or another driver comes. No queue runs. */
  reset?(): void | Promise<void>;
  /** The device is not used any more: frees its resources. No queue runs, and its context is not usable any more. */
  close?(): void | Promise<void>;
}

/** Work of a device that can be found without a system call: a completion ring, say. */
export interface DevicePollable {
  /** Does the work that there is. Returns whether there was any. */
  poll(): boolean;
  /** It is polled from now on, until `rearm`: its descriptor need not become readable. */
  suppress(): void;
  /** It is not polled any more. Returns true when there may be work that the descriptor does not report. */
  rearm(): boolean;
  /** False while the work that was done may have left promises to settle. */
  readonly isSettled: boolean;
  /**
   * True while the kernel works for it, perhaps in a thread that needs this processor: the loop sleeps at once, and does
   * not poll. Default false.
   */
  readonly awaitsKernel?: boolean;
}

/** What a device can use on the thread it runs on. Watches and timers end when the device is closed. */
export interface DeviceContext {
  /** Calls the handlers while `fd` is readable or writable, until disposed; polls `pollable` before the loop sleeps. */
  watch(
    fd: number,
    handlers: { readonly readable?: () => void; readonly writable?: () => void; readonly pollable?: DevicePollable },
  ): Disposable;
  /**
   * Runs `task` after the current events and before the loop sleeps. A pending task is not added again.
   * @param source reports in `isSettled` whether the task left a promise. Absent: it may have.
   */
  soon(task: () => void, source?: Pick<DevicePollable, 'isSettled'>): void;
  /** Calls `task` once, after `delayMs`, unless disposed before. */
  timer(delayMs: number, task: () => void): Disposable;
  /** Logs a line; `about` is for programs. Repeated lines are limited. */
  readonly log: Log;
  /** The configuration space has changed: notifies the driver, §2.3. */
  configChanged(): void;
  /** The device is in an error that only a reset ends, §2.1.2: notifies the driver, and logs `why`. */
  needsReset(why: string): void;
}

/**
 * The accepted bits that were not offered: a driver "MUST NOT accept a feature which the device did not offer", §2.2.1.
 */
export function unofferedFeatures(accepted: bigint, offered: bigint): bigint {
  return accepted & ~offered;
}
