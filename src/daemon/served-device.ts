// Upper floor: a device being served, whether by threads of its own or inside Node's loop.
import type { RecordableHistogram } from 'node:perf_hooks';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import type { DeviceProfile } from './open-device.ts';

/** A device being served. */
export interface ServedDevice extends AsyncDisposable {
  /** From pop to publish, in ns. */
  readonly latency: RecordableHistogram;
  /**
   * Everything has stopped: after `close`, or after the one front end of `once`. Returns the last counts. Rejects when
   * serving failed.
   */
  readonly closed: Promise<DeviceSnapshot>;
  /** Fulfilled when it serves, with what it serves. Rejects when it cannot. */
  ready(): Promise<DeviceProfile>;
  /** What has been served so far, over all queues and sessions. */
  snapshot(): Promise<DeviceSnapshot>;
  /** Every queue that runs, as it is now: indices, flags, events, what is in flight. For finding out why something hangs. */
  report(): Promise<readonly QueueReport[]>;
  /** Looks again at what can change outside (the size of a store); the driver is told if it changed. */
  refresh(): void;
  /** Stops listening, finishes what is in flight, flushes and closes. Fulfilled when that is done, as `closed`. */
  close(): Promise<DeviceSnapshot>;
}
