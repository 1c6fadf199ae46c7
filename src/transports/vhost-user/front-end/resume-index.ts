// vhost-user/front-end: where to go on in a ring whose device went away with requests in flight, §2.7.
import type { SplitRing } from '../../../virtio/split/split-ring.ts';

/** A ring that no device uses, and how it was used last. */
export interface InterruptedRing {
  readonly ring: SplitRing;
  /** Whether VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** The available index at which the last device began; all requests before it were finished. */
  readonly base: number;
}

/**
 * Returns the available index to go on from; undefined when the ring does not show it. `used.idx` is how many requests
 * were finished, not which: it is the right index if the requests before it are the finished ones. That is known when
 * - nothing is unfinished, or nothing was finished since `base`;
 * - the device had requested a notification for the request at `used.idx`, so it had taken none beyond (§2.7.10);
 * - everything since `base` was finished in the order in which it was made available, as far as the ring still shows
 *   it, which has to be at least as many requests as are unfinished. Otherwise some requests would be served a second
 *   time, when the driver may be using their memory for something else, and others never. Requests taken and not
 *   finished are served again. A disk may do that: the driver has not seen them completed.
 */
export function resumeIndex({ ring, eventIdx, base }: InterruptedRing): number | undefined {
  const used = ring.usedIndex();
  const unfinished = (ring.availableIndex() - used) & 0xffff;
  if (unfinished === 0) return used;
  if (unfinished > ring.size) return undefined; // the driver or the device broke the ring
  if (eventIdx && ring.words().availEvent === used) return used;
  // Older entries of the available ring have been overwritten. In a nearly full ring too few are left to decide.
  const finished = (used - base) & 0xffff;
  const shown = Math.min(finished, ring.size - unfinished);
  if (shown < finished && shown < unfinished) return undefined;
  for (let i = 1; i <= shown; i++) {
    const index = (used - i) & 0xffff;
    if (ring.usedHead(index) !== ring.availableHead(index)) return undefined;
  }
  return used;
}
