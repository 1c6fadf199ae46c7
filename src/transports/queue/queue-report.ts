// Ground floor: a running queue as a person wants to see it when something hangs: what either side says, and how far it got.

import type { QueueState } from '../../virtio/device-queue.ts';
import type { QueueCounters } from '../../virtio/queue-counters.ts';

export interface QueueReport extends QueueState {
  readonly queue: number;
  readonly requests: number;
  readonly kicks: number;
  readonly calls: number;
  /** Milliseconds ago; undefined: never. */
  readonly lastKickAgoMs: number | undefined;
  readonly lastCallAgoMs: number | undefined;
}

export function reportOf(queue: number, state: QueueState, counters: QueueCounters): QueueReport {
  const nowMs = performance.now();
  const ago = (ms: number): number | undefined => (ms === 0 ? undefined : Math.round(nowMs - ms));
  const { requests, kicks, calls, lastKickMs, lastCallMs } = counters;
  return { queue, ...state, requests, kicks, calls, lastKickAgoMs: ago(lastKickMs), lastCallAgoMs: ago(lastCallMs) };
}

/** One line: the driver's words, ours, and what they add up to. */
export function describeQueue(report: QueueReport): string {
  const ago = (ms: number | undefined): string => (ms === undefined ? 'never' : `${(ms / 1000).toFixed(3)} s ago`);
  const r = report;
  const driver = `driver: available ${r.availableIndex}, flags ${r.availableFlags}, used_event ${r.usedEvent}`;
  const device = `device: used ${r.usedIndex}, flags ${r.usedFlags}, avail_event ${r.availEvent}`;
  const progress = `popped up to ${r.popped}, gave back up to ${r.givenBack}, ${r.inFlight} in flight`;
  const rings = `${r.kicks} kicks (last ${ago(r.lastKickAgoMs)}), ${r.calls} calls (last ${ago(r.lastCallAgoMs)})`;
  return `queue ${r.queue}: ${verdict(r)}; ${driver}; ${device}; ${progress}; ${r.requests} requests, ${rings}`;
}

function verdict({ broken, polled, popped, availableIndex }: QueueReport): string {
  if (broken) return 'stopped, the driver broke a rule';
  const waiting = (availableIndex - popped) & 0xffff;
  return `${waiting === 0 ? 'nothing waits' : `${waiting} requests wait`}${polled ? ', polling' : ''}`;
}
