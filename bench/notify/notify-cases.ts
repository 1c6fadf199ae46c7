// bench/notify: the cases: three loads, two ways to wake, three ways to poll; and what hvisor-tool's #78 published.
import type { PollMode } from '../../src/daemon/poll-mode.ts';
import type { DoorbellKind } from '../threads/doorbell.ts';

/** Which figure of a load is compared. */
export type Metric = 'iops' | 'bandwidth' | 'latency';

export interface NotifyLoad {
  readonly name: string;
  readonly metric: Metric;
  readonly blockBytes: number;
  readonly depth: number;
  readonly random: boolean;
}

/** The three fio lines of #78. */
export const LOADS: readonly NotifyLoad[] = [
  { name: '4 KiB random reads, depth 64', metric: 'iops', blockBytes: 4096, depth: 64, random: true },
  { name: '1 MiB reads, depth 16', metric: 'bandwidth', blockBytes: 1 << 20, depth: 16, random: false },
  { name: '4 KiB reads, depth 1', metric: 'latency', blockBytes: 4096, depth: 1, random: false },
];

export const POLLS = ['off', 'fixed', 'auto'] as const;
/** Polling: never, for a fixed time, or for a learned time. */
export type Poll = (typeof POLLS)[number];

export const POLL_NAMES: Readonly<Record<Poll, string>> = {
  off: 'no polling',
  fixed: 'fixed polling',
  auto: 'adaptive polling',
};

export const DOORBELL_NAMES: Readonly<Record<DoorbellKind, string>> = {
  signal: 'signal + sigwaitinfo',
  eventfd: 'eventfd + epoll',
};

export interface NotifyVariant {
  readonly doorbell: DoorbellKind;
  readonly poll: Poll;
  /** The device does not look at the ring again before it sleeps: not compared; its lost kicks are counted. */
  readonly forgetful: boolean;
}

/** In the order of their turns: variants that are compared with each other are neighbours. */
export const VARIANTS: readonly NotifyVariant[] = [
  ...POLLS.flatMap((poll) =>
    (['signal', 'eventfd'] as const).map((doorbell) => ({ doorbell, poll, forgetful: false })),
  ),
  { doorbell: 'signal', poll: 'off', forgetful: true },
];

export function pollMode(poll: Poll, fixedUs: number): PollMode {
  return poll === 'fixed' ? fixedUs : poll;
}

/**
 * The two tables of #78, in the unit of the load's metric: requests a second, MiB a second, µs. Measured by fio with
 * io_uring in a guest, on a ramdisk; board, kernel, pinning and number of runs are not given. No adaptive row.
 */
export const PUBLISHED: Readonly<Record<Metric, Partial<Record<Poll, Readonly<Record<DoorbellKind, number>>>>>> = {
  iops: { off: { signal: 1364, eventfd: 24_500 }, fixed: { signal: 58_100, eventfd: 61_600 } },
  bandwidth: { off: { signal: 204, eventfd: 916 }, fixed: { signal: 1231, eventfd: 1401 } },
  latency: { off: { signal: 1343, eventfd: 598 }, fixed: { signal: 105, eventfd: 104 } },
};

/** How many times better the eventfd was: more of a rate, less of a latency. */
export function gain(metric: Metric, signal: number, eventfd: number): number {
  return metric === 'latency' ? signal / eventfd : eventfd / signal;
}
