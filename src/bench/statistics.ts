// bench: what several rounds say together. Pure.

/** Of a few measurements: the middle one, and between which the others lie. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** A quarter of the measurements lies below the first, a quarter above the third. */
  readonly quartiles: readonly [first: number, third: number];
}

/** The value below which `share` (0 to 1) of `sorted` lies, interpolated between neighbours. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] as number;
  const above = sorted[Math.ceil(at)] as number;
  return below + (above - below) * (at - Math.floor(at));
}

/** Throws RangeError without measurements. */
export function summarize(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError('there is nothing to summarize');
  const sorted = values.toSorted((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    min: sorted[0] as number,
    max: sorted.at(-1) as number,
    quartiles: [quantile(sorted, 0.25), quantile(sorted, 0.75)],
  };
}
