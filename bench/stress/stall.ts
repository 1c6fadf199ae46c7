// bench/stress: distinguishes a lost notification from a slow thread, and describes both sides. Pure; repairs nothing.
import { describeQueue } from '../../src/transports/queue/queue-report.ts';
import type { SplitWords } from '../../src/virtio/split/split-ring.ts';
import type { SideState } from './side-words.ts';

/** Everything about a queue at one moment. */
export interface QueueSnapshot {
  readonly atMs: number;
  readonly ring: SplitWords;
  readonly driver: SideState;
  readonly device: SideState;
  /** Whether the side's thread sleeps in the kernel: one that waits for a processor will go on by itself. */
  readonly driverSleeps: boolean;
  readonly deviceSleeps: boolean;
  /** Notifications sent and not yet received: counts of the eventfds. */
  readonly kicksPending: number;
  readonly callsPending: number;
}

/** A kick: the device sleeps on requests. A call: the driver sleeps on completions. A request: both sides sleep on it. */
export type Loss = 'kick' | 'call' | 'request';

/** Returns what must have been lost for the queue to be in both states; undefined where it may go on by itself. */
export function lossBetween(before: QueueSnapshot, now: QueueSnapshot): Loss | undefined {
  if (isMoving(before, now) || !before.deviceSleeps || !now.deviceSleeps || !isDriverWaiting(now)) return undefined;
  if (now.kicksPending > 0) return undefined;
  if (now.ring.availableIndex !== now.device.index) return 'kick';
  if (now.driver.phase !== 'asleep' || !before.driverSleeps || !now.driverSleeps || now.callsPending > 0)
    return undefined;
  if (now.ring.usedIndex !== now.driver.index) return 'call';
  return now.driver.inFlight > 0 ? 'request' : undefined;
}

function isMoving(before: QueueSnapshot, now: QueueSnapshot): boolean {
  const words = ({ ring, driver, device, kicksPending, callsPending }: QueueSnapshot): string =>
    JSON.stringify([ring, driver, device, kicksPending, callsPending]);
  return words(before) !== words(now);
}

/** A driver that polls or sleeps has sent every kick it will send before something is used. */
function isDriverWaiting({ driver }: QueueSnapshot): boolean {
  return driver.phase === 'polling' || driver.phase === 'asleep';
}

const LOSSES: Readonly<Record<Loss, string>> = {
  kick: 'lost kick: the device sleeps, requests are available, and nothing will wake it',
  call: 'lost call: the driver sleeps, completions are there, and nothing will wake it',
  request: 'lost request: both sides sleep, and the driver still waits for completions',
};

/** Returns several lines: the loss; the queue as `belfry serve` shows it on SIGUSR2; the driver and the kernel. */
export function describeStall(kind: Loss | 'progress', snapshot: QueueSnapshot): string {
  const { atMs, ring, driver, device, deviceSleeps, driverSleeps } = snapshot;
  const ago = (ms: number): number | undefined => (ms === 0 ? undefined : Math.round(atMs - ms));
  const queue = describeQueue({
    words: { ...ring },
    queue: 0,
    runs: 'running',
    waiting: (ring.availableIndex - device.index) & 0xffff,
    popped: device.index,
    givenBack: ring.usedIndex,
    inFlight: device.inFlight,
    polled: !deviceSleeps && device.phase === 'polling',
    requests: device.done,
    kicks: device.seen,
    calls: device.sent,
    lastKickAgoMs: ago(device.lastSeenMs),
    lastCallAgoMs: ago(device.lastSentMs),
  });
  const last = (ms: number): string => (ms === 0 ? 'never' : `last ${Math.round(atMs - ms)} ms ago`);
  const sent = `sent ${driver.sent} kicks (${last(driver.lastSentMs)})`;
  const seen = `saw ${driver.seen} calls (${last(driver.lastSeenMs)})`;
  const pending = `${snapshot.kicksPending} kicks, ${snapshot.callsPending} calls`;
  return [
    kind === 'progress' ? 'nothing was done for a minute' : LOSSES[kind],
    `  ${queue}`,
    `  driver: ${driverSleeps ? 'asleep' : driver.phase}, took up to ${driver.index}, ${driver.inFlight} in flight; ${sent}, ${seen}`,
    `  device: ${deviceSleeps ? 'asleep' : device.phase}; pending: ${pending}`,
  ].join('\n');
}
