// Upper floor: a device being served, whether by threads of its own or inside Node's loop.
import type { RecordableHistogram } from 'node:perf_hooks';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';

export interface ServedDevice {
  /** From pop to publish, in ns. */
  readonly latency: RecordableHistogram;
  /** Everything has stopped; returns the last counts. Rejects when serving failed. */
  readonly closed: Promise<DeviceSnapshot>;
  /** Fulfilled when it serves. Rejects when it cannot. */
  ready(): Promise<void>;
  /** What has been served so far. */
  snapshot(): Promise<DeviceSnapshot>;
  /** Every queue that runs, as it is now. */
  report(): Promise<readonly QueueReport[]>;
  /** Finishes what is in flight, flushes and closes: `closed` tells when. Once is enough. */
  stop(): void;
  /** Looks again at what can change outside (the size of a store); the driver is told if it changed. */
  refresh(): void;
}
