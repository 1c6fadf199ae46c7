// bench: medians, quartiles and decisions over rounds. Pure.

/** Median and range of a few measurements. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** A quarter of the measurements is below the first, a quarter above the third. */
  readonly quartiles: readonly [first: number, third: number];
}

/** The value below which `share` (0 to 1) of `sorted` is, interpolated between neighbours. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] as number;
  const above = sorted[Math.ceil(at)] as number;
  return below + (above - below) * (at - Math.floor(at));
}

/** Summarizes `values`. Throws RangeError where there are none. */
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

const RATIO_MIN = 0.02;

/** Whether these ratios show a difference: two percent or more, and most rounds agree on which side is better. */
export function decided({ median, quartiles }: Summary): boolean {
  return Math.abs(median - 1) >= RATIO_MIN && (quartiles[0] > 1 || quartiles[1] < 1);
}
