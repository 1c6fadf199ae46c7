// test/power-cut: from a recording to what a disk may hold when its power is cut: what is durable, and any part of the rest.
import type { Chooser } from '../../src/testing/chooser.ts';
import { PagedImage } from './paged-image.ts';
import { type ByteRange, lengthOf, type RecordedChange, type Recording, SECTOR_BYTES } from './recording.ts';

/**
 * What became of a change that was not durable: `torn` any of its sectors, `short` the first of them.
 * Each sector then holds its durable content or that of one of the changes, which is all that a disk may do: a later
 * change of the same sector replaces an earlier one in the cache, so no order in which it writes gives anything else.
 */
export type Fate = 'absent' | 'whole' | 'torn' | 'short';

export const FATES: readonly Fate[] = ['absent', 'whole', 'torn', 'short'];

/** Chooses the fate of each pending change. */
export type FateOf = (change: RecordedChange, index: number) => Fate;

export interface ReplayOptions {
  /** What completed before this event is durable, without a flush. Default 0. */
  readonly from?: number;
  /** Bytes that are never torn: of each change they survive together, or not at all. */
  readonly untorn?: ByteRange | undefined;
}

/** Replays a recording up to one cut after another, each at a later event than the one before. */
export class Replay {
  readonly #sizeBytes: number;
  readonly #recording: Recording;
  /** In the order in which they completed. */
  readonly #changes: readonly RecordedChange[];
  readonly #durable: PagedImage;
  readonly #from: number;
  readonly #untorn: ByteRange | undefined;
  #applied = 0;
  #at: number;

  constructor(recording: Recording, sizeBytes: number, { from = 0, untorn }: ReplayOptions = {}) {
    this.#recording = recording;
    this.#untorn = untorn;
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
    for (const [index, change] of pending.entries())
      for (const [from, to] of survivingParts(change, fateOf(change, index), choose, this.#untorn))
        image.apply(change, from, to);
    return image;
  }
}

/** With a cut before the event `at`, a change is durable if it ended before the returned event. */
export function durableHorizon({ flushes }: Recording, at: number): number {
  let horizon = 0;
  for (const flush of flushes) if (flush.ended < at && flush.begun > horizon) horizon = flush.begun;
  return horizon;
}

type Part = readonly [from: number, to: number];

function survivingParts(change: RecordedChange, fate: Fate, choose: Chooser, untorn?: ByteRange): readonly Part[] {
  const length = lengthOf(change);
  if (fate === 'absent') return [];
  if (fate === 'whole') return [[0, length]];
  const units = unitsOf(change, untorn);
  if (fate === 'torn') return units.filter(() => choose.flip());
  const count = choose.below(units.length + 1);
  return units.slice(0, count);
}

/** The parts of a change that a disk writes whole: its sectors, and what is never torn of it as one. */
function unitsOf(change: RecordedChange, untorn: ByteRange = { offset: 0, length: 0 }): Part[] {
  const length = lengthOf(change);
  const wholeFrom = untorn.offset - change.offset;
  const wholeTo = Math.min(length, wholeFrom + untorn.length);
  const units: Part[] = [];
  for (let from = 0; from < length; ) {
    const to = from >= wholeFrom && from < wholeTo ? wholeTo : from + SECTOR_BYTES;
    units.push([from, to]);
    from = to;
  }
  return units;
}
