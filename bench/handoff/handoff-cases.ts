// bench/handoff: the loads, the names of the designs, and the figures that hvisor-tool's change #95 published.
import type { Design } from './handoff-job.ts';

export interface HandoffLoad {
  readonly name: string;
  readonly blockBytes: number;
  readonly depth: number;
  readonly random: boolean;
  /** Measured in bytes a second. */
  readonly large: boolean;
  /** What #95 published for this load, before and after. */
  readonly published?: Readonly<Record<'parse' | 'wake', PublishedHandoff>>;
}

/** RK3588, a ramdisk, fio with io_uring, 120 s; the number of runs is not given. */
export interface PublishedHandoff {
  readonly requestsPerSecond?: number;
  readonly mebibytesPerSecond?: number;
  readonly p99Us?: number;
  readonly p9999Us?: number;
}

const small = { blockBytes: 4096, random: true, large: false };

export const HANDOFF_LOADS: readonly HandoffLoad[] = [
  { name: '4 KiB random reads, depth 1', ...small, depth: 1 },
  { name: '4 KiB random reads, depth 8', ...small, depth: 8 },
  {
    name: '4 KiB random reads, depth 64',
    ...small,
    depth: 64,
    published: {
      parse: { requestsPerSecond: 89_000, p99Us: 906, p9999Us: 113_800 },
      wake: { requestsPerSecond: 93_700, p99Us: 775, p9999Us: 76_000 },
    },
  },
  {
    name: '1 MiB reads, depth 16',
    blockBytes: 1 << 20,
    depth: 16,
    random: false,
    large: true,
    published: { parse: { mebibytesPerSecond: 3831 }, wake: { mebibytesPerSecond: 4026 } },
  },
];

export const DESIGN_NAMES: Readonly<Record<Design, string>> = {
  parse: 'dispatcher parses, locked queue',
  wake: 'dispatcher only wakes',
  none: 'no dispatcher',
};
