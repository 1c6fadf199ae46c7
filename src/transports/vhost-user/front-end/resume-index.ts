// Ground floor: where another device goes on in a ring whose device went away in the middle of its requests, §2.7.
import type { SplitRing } from '../../../virtio/split/split-ring.ts';

export interface InterruptedRing {
  readonly ring: SplitRing;
  /** Whether VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** The available index at which the device that is gone began; all before it was finished. */
  readonly base: number;
}

/**
 * The available index to go on from; undefined when the ring does not tell. `used.idx` says how many requests were finished, not
 * which: from there on is right if those before it are the finished ones. That is known when
 * - nothing is unfinished, or nothing was finished since `base`;
 * - the device had asked to be notified of the request at `used.idx`, so it had taken none beyond (§2.7.10);
 * - everything since `base` was finished in the order in which it was made available, as far as the ring still shows, which has to be at
  least as much as is unfinished.
 * Otherwise going on would serve some requests a second time, whose memory the driver may be using for something else by now, and
 * others never. Requests taken and not finished are served again: a disk may do that, its driver has not been told of the first time.
 */
export function resumeIndex({ ring, eventIdx, base }: InterruptedRing): number | undefined {
  const used = ring.usedIndex();
  const unfinished = (ring.availableIndex() - used) & 0xffff;
  if (unfinished === 0) return used;
  if (unfinished > ring.size) return undefined; // the driver's mistake, or that of who is gone
  if (eventIdx && ring.words().availEvent === used) return used;
  // Older entries of the available ring have been written over. Of a ring that is nearly full too few are left to say anything.
  const finished = (used - base) & 0xffff;
  const shown = Math.min(finished, ring.size - unfinished);
  if (shown < finished && shown < unfinished) return undefined;
  for (let i = 1; i <= shown; i++) {
    const index = (used - i) & 0xffff;
    if (ring.usedHead(index) !== ring.availableHead(index)) return undefined;
  }
  return used;
}
