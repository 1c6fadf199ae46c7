// bench: the loads that `bench blk --suite` runs one after the other, and the name of a load.
import { formatSize } from '../src/index.ts';
import type { LoadSpec } from './load/load-spec.ts';
import type { Cache } from './page-cache.ts';

export interface BlkCase {
  readonly name: string;
  readonly load: LoadSpec;
  /** Whether belfry serve polls as the front end does. */
  readonly backEndPolls: boolean;
  /** How the back ends access the image, and its state when a round begins. Absent: as each does by default. */
  readonly cache?: Cache;
}

export function blkCase(load: LoadSpec, backEndPolls = false): BlkCase {
  const { operation, blockBytes, depth, queues, wait, rate } = load;
  const many = queues === 1 ? '' : `, ${queues} queues`;
  const waiting = wait === 'poll' ? 'front end polls' : 'front end waits for calls';
  if (rate === 0) return { name: `no requests${many}`, load, backEndPolls };
  if (rate !== undefined)
    return { name: `${operation} ${formatSize(blockBytes)}, ${rate} requests a second${many}`, load, backEndPolls };
  const both = backEndPolls ? 'both sides poll' : waiting;
  return { name: `${operation} ${formatSize(blockBytes)}, depth ${depth}${many}, ${both}`, load, backEndPolls };
}

/** Returns the cases of `--suite`. `base` has the fields that they have in common. */
export function suiteOf(base: LoadSpec): BlkCase[] {
  const small = { ...base, blockBytes: 4096, depth: 64 };
  return [
    blkCase({ ...small, operation: 'randread', wait: 'poll' }),
    blkCase({ ...small, operation: 'randread', wait: 'call' }),
    blkCase({ ...small, operation: 'randwrite', wait: 'poll' }),
    blkCase({ ...small, operation: 'randwrite', wait: 'call' }),
    blkCase({ ...base, operation: 'read', blockBytes: 1 << 20, depth: 16, wait: 'poll' }),
    blkCase({ ...base, operation: 'randread', blockBytes: 4096, depth: 1, wait: 'poll' }, true),
  ];
}

/** The same load, with the image cached or past the page cache. */
export function withCache({ name, ...one }: BlkCase, cache: Cache): BlkCase {
  return { ...one, name: `${cache}, ${name}`, cache };
}
