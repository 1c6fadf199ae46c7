// daemon: `--poll off|auto|US` as the policy of an event loop, calibrated on this machine.
import { AdaptivePoll } from '../notify/adaptive-poll.ts';
import { involuntarySwitches } from '../sys/cpu.ts';
import { Epoll } from '../sys/epoll.ts';
import type { PollPolicy } from '../sys/pollable.ts';
import { TimerFd } from '../sys/timer-fd.ts';

/** Polling before a sleep: never, adaptive, or always for this many microseconds. */
export type PollMode = 'off' | 'auto' | number;

export const POLL_MAX_US = 1_000_000;

/** The cost of a sleep on this thread; undefined until it was measured. */
let wakeCostNs: number | undefined;

/**
 * The policy for a mode; undefined: never poll. `auto` measures the cost of a sleep, once a thread, which takes about a
 * millisecond.
 */
export function pollPolicy(mode: PollMode): PollPolicy | undefined {
  if (mode === 'off' || mode === 0) return undefined;
  if (mode !== 'auto') return { pollNs: () => mode * 1000, waited: () => {} };
  wakeCostNs ??= measureWakeCostNs();
  return new AdaptivePoll({ wakeCostNs, preemptions: involuntarySwitches });
}

/**
 * The cost of a sleep in ns: the median time from a timer's expiry until this thread runs again. Takes a millisecond.
 */
export function measureWakeCostNs(): number {
  const DELAY_MS = 0.1;
  using timer = new TimerFd();
  using epoll = new Epoll();
  epoll.add(timer.fd, 1);
  const costs = Array.from({ length: 7 }, () => {
    const startedMs = performance.now();
    timer.set(DELAY_MS);
    epoll.wait(1000);
    timer.expirations();
    return (performance.now() - startedMs - DELAY_MS) * 1e6;
  }).sort((a, b) => a - b);
  return Math.max(0, costs[3] as number);
}
