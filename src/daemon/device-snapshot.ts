// daemon: what a served device has done since it started, as totals.
import type { QueueTotals } from '../virtio/queue-counters.ts';

/** Totals of a device since it started. `bytesRead` and `bytesWritten` are 0 where the device does not count bytes. */
export interface DeviceSnapshot extends QueueTotals {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Network cards only: frames that were dropped, in both directions. */
  readonly droppedFrames?: number;
}

/** Adds up the snapshots of several threads. */
export function addSnapshots(all: readonly DeviceSnapshot[]): DeviceSnapshot {
  const sum = (field: keyof DeviceSnapshot): number => all.reduce((total, one) => total + (one[field] ?? 0), 0);
  return {
    requests: sum('requests'),
    batches: sum('batches'),
    kicks: sum('kicks'),
    calls: sum('calls'),
    bytesRead: sum('bytesRead'),
    bytesWritten: sum('bytesWritten'),
    ...(all.some((one) => one.droppedFrames !== undefined) && { droppedFrames: sum('droppedFrames') }),
  };
}
