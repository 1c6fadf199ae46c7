// Upper floor: what a disk tells of itself when asked: totals since the start.
import type { QueueTotals } from '../virtio/queue-counters.ts';

export interface DeviceSnapshot extends QueueTotals {
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** Adds up what several threads did. */
export function addSnapshots(all: readonly DeviceSnapshot[]): DeviceSnapshot {
  const sum = (field: keyof DeviceSnapshot): number => all.reduce((total, one) => total + one[field], 0);
  return {
    requests: sum('requests'),
    batches: sum('batches'),
    kicks: sum('kicks'),
    calls: sum('calls'),
    bytesRead: sum('bytesRead'),
    bytesWritten: sum('bytesWritten'),
  };
}
