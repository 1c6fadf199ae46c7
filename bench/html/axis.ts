// bench/html: the axis of a chart: linear from zero, or by powers of ten where the shortest bar would not be seen.

export interface Axis {
  readonly isLogarithmic: boolean;
  /** The first is where bars begin, the last is at least the greatest value. */
  readonly ticks: readonly number[];
  /** Position of a value on the axis: 0 at the first tick, 1 at the last. */
  position(value: number): number;
}

/** A bar that is shorter than this share of the longest cannot be read. */
const SHARE_MIN = 1 / 40;

/** @param bars what each bar shows, @param most the greatest value there is. */
export function axisFor(bars: readonly number[], most: number): Axis {
  const least = Math.min(...bars.filter((value) => value > 0));
  return least < SHARE_MIN * most ? logarithmic(least, most) : linear(most);
}

function linear(most: number): Axis {
  const ticks = linearTicks(most);
  const end = ticks.at(-1) as number;
  return { isLogarithmic: false, ticks, position: (value) => value / end };
}

function logarithmic(least: number, most: number): Axis {
  const first = Math.floor(Math.log10(least));
  const last = Math.ceil(Math.log10(most) - 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => Number((10 ** (first + i)).toPrecision(6)));
  const position = (value: number): number =>
    Math.max(0, (Math.log10(Math.max(value, Number.MIN_VALUE)) - first) / (last - first));
  return { isLogarithmic: true, ticks, position };
}

/** Three to six round numbers from 0 to at least `most`. */
export function linearTicks(most: number): number[] {
  if (!(most > 0)) return [0, 1];
  const unit = 10 ** Math.floor(Math.log10(most));
  const step = [0.2, 0.5, 1, 2].map((part) => part * unit).find((one) => most / one <= 5) as number;
  const count = Math.ceil(most / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}
