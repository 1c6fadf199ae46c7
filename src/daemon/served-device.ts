// daemon: a device that is being served, by threads of its own or in Node's loop.
import type { RecordableHistogram } from 'node:perf_hooks';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import type { DeviceProfile } from './open-device.ts';

/** A device that is being served. */
export interface ServedDevice extends AsyncDisposable {
  /** Time from pop to publish of each request, in ns. */
  readonly latency: RecordableHistogram;
  /**
   * Resolves to the last totals when everything has stopped: after `close`, or after the one front end of `once`.
   * Rejects when serving failed.
   */
  readonly closed: Promise<DeviceSnapshot>;
  /** Resolves to the device's description when it serves. Rejects when the device cannot be opened. */
  ready(): Promise<DeviceProfile>;
  /** Totals so far, over all queues and sessions. */
  snapshot(): Promise<DeviceSnapshot>;
  /** Every running queue as it is now: indices, flags, event indices, requests in flight. For debugging a hang. */
  report(): Promise<readonly QueueReport[]>;
  /** Reads again what can change outside (the size of a store), and notifies the driver of a change. */
  refresh(): void;
  /** Disks only: tries the requests again that are held after an error of the store, on every thread. */
  retryHeld(): void;
  /** Disks only: how many requests are held that no other process could go on with: the front end keeps no record. */
  heldUnrecorded(): Promise<number>;
  /**
   * Stops listening, finishes requests in flight, flushes and closes. Returns `closed`.
   * @param isPassedOn another process of this machine goes on with the device: an image is not flushed.
   */
  close(isPassedOn?: boolean): Promise<DeviceSnapshot>;
}
