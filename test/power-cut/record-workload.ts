// test/power-cut: runs a workload in a guest, and records what reached its disk.
import { PeerMissingError } from '../../guests/guest-peer.ts';
import { BlockDevice, type BlockStore, type StoreFilter, type VirtioDevice } from '../../src/index.ts';
import type { FileSystem } from './file-system.ts';
import { type GuestKit, runGuestSession } from './guest-session.ts';
import { messageDisk } from './message-disk.ts';
import { imageStore, PagedImage } from './paged-image.ts';
import { Recording } from './recording.ts';
import { recordingStore } from './recording-store.ts';
import type { Workload } from './workload.ts';

/** The mark between mkfs and the first mount. */
export const MADE = 'made';
const FAILED = 'failed';
const UNKNOWN = 'unknown';

/** The cache mode that the guest chooses: with `writethrough` it never flushes, since each write is durable. */
export const CACHE_MODES = ['writeback', 'writethrough'] as const;
export type CacheMode = (typeof CACHE_MODES)[number];

/** What is between the guest and the disk. */
export interface Served {
  /** Over the disk that records. */
  readonly filter?: StoreFilter;
  /** Default: `BlockDevice`. */
  readonly device?: (store: BlockStore) => VirtioDevice;
}

export interface RecordOptions {
  readonly kit: GuestKit;
  readonly fileSystem: FileSystem;
  readonly workload: Workload;
  readonly served: Served;
  readonly cache: CacheMode;
  /** Called with the number of steps that are done. */
  readonly onStep?: (done: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Returns the recording. Its marks: `MADE`, then the number of steps that are done, before the next one begins.
 * Throws an Error with the end of the console when a step failed.
 */
export async function recordWorkload(options: RecordOptions): Promise<Recording> {
  const { kit, fileSystem, workload, served, signal } = options;
  const recording = new Recording();
  const image = new PagedImage(fileSystem.diskBytes);
  const disk = recordingStore(recording)(imageStore(fileSystem.diskBytes, () => image));
  const source = new PagedImage(workload.source.length);
  source.write(0, workload.source);
  let outcome = '';
  const messages = messageDisk(
    () => '',
    (line) => {
      outcome = line;
      recording.mark(line);
      if (/^\d+$/.test(line)) options.onStep?.(Number(line));
    },
  );
  const device = served.device ?? ((store) => new BlockDevice(store));
  const tail = await runGuestSession(kit, {
    disks: [
      device(served.filter?.(disk) ?? disk),
      new BlockDevice(messages),
      new BlockDevice(imageStore(source.sizeBytes, () => source)),
    ],
    script: workloadScript(fileSystem, workload, options.cache),
    ...(signal && { signal }),
  });
  if (outcome === UNKNOWN)
    throw new PeerMissingError(`the kernel of ${kit.peer.description} has no ${fileSystem.name}`);
  if (outcome !== `${workload.steps.length}`)
    throw new Error(`the workload ended after "${outcome}" of ${workload.steps.length} steps\n${tail.join('\n')}`);
  return recording;
}

const WRITETHROUGH = "echo 'write through' >/sys/block/vda/cache_type || fail cache";

function workloadScript({ name, make }: FileSystem, { steps }: Workload, cache: CacheMode): string {
  return [
    'say() { echo "$1" >/dev/vdb; echo "$1"; }',
    `fail() { echo "$1 failed"; say ${FAILED}; poweroff -f; }`,
    `grep -qw ${name} /proc/filesystems || { say ${UNKNOWN}; poweroff -f; }`,
    ...(cache === 'writethrough' ? [WRITETHROUGH] : []),
    `${make} || fail mkfs`,
    'sync',
    `say ${MADE}`,
    `mount -t ${name} /dev/vda /mnt || fail mount`,
    'cd /mnt',
    'say 0',
    ...steps.map(
      ({ shell }, i) => `{ ${shell}; } 2>/tmp/errors || { cat /tmp/errors; fail 'step ${i}'; }\nsay ${i + 1}`,
    ),
    // The power is cut in the middle of use: nothing is unmounted.
  ].join('\n');
}
