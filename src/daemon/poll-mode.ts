// Upper floor: `--poll off|auto|US` as the policy of an event loop, calibrated on this machine.
import { AdaptivePoll } from '../notify/adaptive-poll.ts';
import { involuntarySwitches } from '../sys/cpu.ts';
import { Epoll } from '../sys/epoll.ts';
import type { PollPolicy } from '../sys/pollable.ts';
import { TimerFd } from '../sys/timer-fd.ts';

/** Never, learned, or always for so many microseconds. */
export type PollMode = 'off' | 'auto' | number;

export const POLL_MAX_US = 1_000_000;

export function pollPolicy(mode: PollMode): PollPolicy | undefined {
  if (mode === 'off' || mode === 0) return undefined;
  if (mode !== 'auto') return { pollNs: () => mode * 1000, waited: () => {} };
  return new AdaptivePoll({ wakeCostNs: measureWakeCostNs(), preemptions: involuntarySwitches });
}

/** The median time from a timer's expiry to this thread's running again, in ns: what a sleep costs here. Takes a millisecond. */
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
