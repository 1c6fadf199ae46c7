// test/power-cut: from a recording to what a disk may hold when its power is cut: what is durable, and any part of the rest.
import type { Chooser } from '../../src/testing/chooser.ts';
import { PagedImage } from './paged-image.ts';
import { lengthOf, type RecordedChange, type Recording, SECTOR_BYTES } from './recording.ts';

/**
 * What became of a change that was not durable: `torn` any of its sectors, `short` the first of them.
 * Each sector then holds its durable content or that of one of the changes, which is all that a disk may do: a later
 * change of the same sector replaces an earlier one in the cache, so no order in which it writes gives anything else.
 */
export type Fate = 'absent' | 'whole' | 'torn' | 'short';

export const FATES: readonly Fate[] = ['absent', 'whole', 'torn', 'short'];

/** Chooses the fate of each pending change. */
export type FateOf = (change: RecordedChange, index: number) => Fate;

/** Replays a recording up to one cut after another, each at a later event than the one before. */
export class Replay {
  readonly #sizeBytes: number;
  readonly #recording: Recording;
  /** In the order in which they completed. */
  readonly #changes: readonly RecordedChange[];
  readonly #durable: PagedImage;
  readonly #from: number;
  #applied = 0;
  #at: number;

  /** What completed before the event `from` is durable, without a flush. Default 0. */
  constructor(recording: Recording, sizeBytes: number, from = 0) {
    this.#recording = recording;
    this.#from = from;
    this.#at = from;
    this.#sizeBytes = sizeBytes;
    this.#changes = recording.changes.toSorted((a, b) => (a.ended === b.ended ? a.begun - b.begun : a.ended - b.ended));
    this.#durable = new PagedImage(sizeBytes);
  }

  /**
   * The power is cut before the event `at`. Returns the changes that are not durable: those that did not complete
   * before the begin of a flush that completed before the cut. In the order in which they apply.
   */
  advance(at: number): readonly RecordedChange[] {
    if (at < this.#at) throw new RangeError(`the replay is at event ${this.#at}, beyond ${at}`);
    this.#at = at;
    const horizon = Math.max(this.#from, durableHorizon(this.#recording, at));
    for (; (this.#changes[this.#applied]?.ended ?? Number.POSITIVE_INFINITY) < horizon; this.#applied++)
      this.#durable.apply(this.#changes[this.#applied] as RecordedChange);
    return this.#changes.slice(this.#applied).filter(({ begun }) => begun < at);
  }

  /** Returns an image of the disk after the cut. It is valid until the next call of `advance`. */
  image(pending: readonly RecordedChange[], fateOf: FateOf, choose: Chooser): PagedImage {
    const image = new PagedImage(this.#sizeBytes, this.#durable);
    for (const [index, change] of pending.entries()) applyPart(image, change, fateOf(change, index), choose);
    return image;
  }
}

/** A change is durable at the cut if it ended before this event. */
function durableHorizon({ flushes }: Recording, at: number): number {
  let horizon = 0;
  for (const flush of flushes) if (flush.ended < at && flush.begun > horizon) horizon = flush.begun;
  return horizon;
}

function applyPart(image: PagedImage, change: RecordedChange, fate: Fate, choose: Chooser): void {
  if (fate === 'absent') return;
  if (fate === 'whole') return image.apply(change);
  const sectors = lengthOf(change) / SECTOR_BYTES;
  if (fate === 'short') return image.apply(change, 0, choose.below(sectors + 1) * SECTOR_BYTES);
  for (let sector = 0; sector < sectors; sector++)
    if (choose.flip()) image.apply(change, sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
}
