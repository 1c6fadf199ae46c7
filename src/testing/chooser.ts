// Upper floor: what a test asks when it wants to be told what to do: by `every` combination, or by chance.

/** What a test asks when it wants to be told what to do: `every` answers with each combination in turn, `SeededRandom` by chance. */
export abstract class Chooser {
  /** A whole number from 0 to `count` - 1. */
  abstract below(count: number): number;

  /** One of `options`. */
  of<T>(options: readonly T[]): T {
    return options[this.below(options.length)] as T;
  }

  /** True or false. */
  flip(): boolean {
    return this.below(2) === 1;
  }
}
