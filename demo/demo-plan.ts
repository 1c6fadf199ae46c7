// demo: the checks of a disk, by its size and by whether it may be written; and what is left out.
import type { ScenarioName } from '../guests/scenario.ts';
import type { StepList } from './demo-steps.ts';

export interface DemoPlan {
  readonly scenario: Extract<ScenarioName, 'format-write-verify' | 'write-all' | 'read-all'>;
  readonly steps: StepList;
  /** MiB written in each of two ways, or read at most; 0 where the disk's size decides. */
  readonly dataMiB: number;
  /** MiB of guest memory for it. */
  readonly memoryMiB: number;
  /** What is not checked, and why: a line each. */
  readonly unchecked: readonly string[];
}

export interface DiskTraits {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
}

/** Bytes of disk for each byte of `dataMiB`: it is written twice, and the file system needs some room. */
export const DISK_PER_DATA = 5;
const MIB = 2 ** 20;
/** Bytes that a partition, a file system and files of two kinds need. */
export const FORMAT_BYTES_MIN = 24 * MIB;
/** MiB that are read of a read-only disk, without --data. */
export const READ_MIB_DEFAULT = 1024;

/** @param wantedMiB `--data`, if it was given. @param usualMiB the default of the guest. */
export function planFor(
  { sizeBytes, readOnly }: DiskTraits,
  wantedMiB: number | undefined,
  usualMiB: number,
): DemoPlan {
  if (readOnly) return readPlan(sizeBytes, wantedMiB ?? READ_MIB_DEFAULT);
  if (sizeBytes < FORMAT_BYTES_MIN) return smallPlan(sizeBytes);
  const dataMiB = wantedMiB ?? Math.min(usualMiB, Math.floor(sizeBytes / DISK_PER_DATA / MIB));
  // The content is in memory once, and again in the page cache, in two ways.
  return { scenario: 'format-write-verify', steps: 'format', dataMiB, memoryMiB: 4 * dataMiB, unchecked: [] };
}

function smallPlan(sizeBytes: number): DemoPlan {
  const memoryMiB = 4 * Math.ceil(sizeBytes / MIB);
  const unchecked = [`a partition and a file system: the disk is smaller than ${FORMAT_BYTES_MIN / MIB} MiB`];
  return { scenario: 'write-all', steps: 'small', dataMiB: 0, memoryMiB, unchecked };
}

function readPlan(sizeBytes: number, dataMiB: number): DemoPlan {
  const unchecked = ['writing, discarding and making a file system: the disk is read-only'];
  if (sizeBytes > dataMiB * MIB) unchecked.push(`what is after the first ${dataMiB} MiB: --data MiB reads more`);
  return { scenario: 'read-all', steps: 'read-only', dataMiB, memoryMiB: 64, unchecked };
}
