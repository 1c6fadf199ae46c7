// queue: the state of a running queue, for debugging a hang: the shared words of the ring and the device's
// progress.
import type { QueueCounters } from '../../virtio/queue-counters.ts';
import type { PoppedRequest, QueueState } from '../../virtio/ring-format.ts';

/** A running queue as it is now, for debugging a hang. */
export interface QueueReport extends QueueState {
  /** Its index. */
  readonly queue: number;
  /** `broken`: stopped until the driver resets it. `stopping`: waits for requests in flight. */
  readonly runs: 'running' | 'broken' | 'stopping';
  /** Requests completed since the queue first ran. */
  readonly requests: number;
  /** Notifications received from the driver. */
  readonly kicks: number;
  /** Notifications sent to the driver. */
  readonly calls: number;
  /** Milliseconds ago; undefined: never. */
  readonly lastKickAgoMs: number | undefined;
  /** Milliseconds ago; undefined: never. */
  readonly lastCallAgoMs: number | undefined;
  /** The requests in flight that are the oldest, at most 16. Absent: not known. */
  readonly oldest?: readonly PoppedRequest[];
}

/** Combines the state of a queue with its counters. */
export function reportOf(
  queue: number,
  runs: QueueReport['runs'],
  state: QueueState,
  counters: QueueCounters,
): QueueReport {
  const nowMs = performance.now();
  const ago = (ms: number): number | undefined => (ms === 0 ? undefined : Math.round(nowMs - ms));
  const { requests, kicks, calls, lastKickMs, lastCallMs } = counters;
  const lasts = { lastKickAgoMs: ago(lastKickMs), lastCallAgoMs: ago(lastCallMs) };
  return { queue, runs, ...state, requests, kicks, calls, ...lasts };
}

/** Formats a report as one line: a verdict, the shared words, the device's progress and counters. */
export function describeQueue(report: QueueReport): string {
  const ago = (ms: number | undefined): string => (ms === undefined ? 'never' : `${(ms / 1000).toFixed(3)} s ago`);
  const r = report;
  const words = Object.entries(r.words).map(([name, value]) => `${specName(name)} ${value}`);
  const progress = `popped up to ${r.popped}, gave back up to ${r.givenBack}, ${r.inFlight} in flight`;
  const rings = `${r.kicks} kicks (last ${ago(r.lastKickAgoMs)}), ${r.calls} calls (last ${ago(r.lastCallAgoMs)})`;
  return `queue ${r.queue}: ${verdict(r)}; ring: ${words.join(', ')}; ${progress}; ${r.requests} requests, ${rings}`;
}

/** The specification's spelling: `usedEvent` is used_event, `availableIndex` avail_idx. */
function specName(name: string): string {
  return name
    .replace('available', 'avail')
    .replace('Index', 'Idx')
    .replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function verdict({ runs, polled, waiting, inFlight }: QueueReport): string {
  if (runs === 'broken') return 'stopped until the driver resets it';
  if (runs === 'stopping') return 'is to stop, and waits for what is in flight';
  const parts = [
    ...(waiting > 0 ? [`${waiting} requests wait`] : []),
    ...(inFlight > 0 ? [`the device has ${inFlight}`] : []),
    ...(polled ? ['polling'] : []),
  ];
  return waiting + inFlight === 0 ? ['nothing waits', ...parts].join(', ') : parts.join(', ');
}
