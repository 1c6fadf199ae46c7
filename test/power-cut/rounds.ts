// test/power-cut: how a number of points is split: by file system, and into rounds with a workload and a seed of their own.
import type { FileSystemName } from './file-system.ts';

export interface Round {
  readonly fileSystem: FileSystemName;
  readonly points: number;
  readonly seed: number;
}

/** Each point of XFS is a mount in a guest, which takes about ten times as long as a check on this machine. */
const XFS_SHARE = 0.1;
export const ROUND_POINTS_MAX = 600;

export interface Wanted {
  readonly points: number;
  readonly seed: number;
  /** All points are for it. Default: one in ten is for XFS, the others for ext4. */
  readonly fileSystem?: FileSystemName;
}

/** Returns the rounds. Those of a file system have seeds one apart. */
export function splitRounds({ points, seed, fileSystem }: Wanted): Round[] {
  if (fileSystem !== undefined) return roundsOf(fileSystem, points, seed);
  const xfs = Math.floor(points * XFS_SHARE);
  return [...roundsOf('ext4', points - xfs, seed), ...roundsOf('xfs', xfs, seed)];
}

function roundsOf(fileSystem: FileSystemName, points: number, seed: number): Round[] {
  const count = Math.ceil(points / ROUND_POINTS_MAX);
  return Array.from({ length: count }, (_, i) => ({
    fileSystem,
    points: Math.floor((points * (i + 1)) / count) - Math.floor((points * i) / count),
    seed: seed + i,
  }));
}
