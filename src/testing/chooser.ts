// testing: the interface by which a test makes choices: every combination in turn, or random ones.

/** Makes the choices of a test: `every` walks all combinations in turn, `SeededRandom` chooses at random. */
export abstract class Chooser {
  /** Returns a whole number from 0 to `count` - 1. */
  abstract below(count: number): number;

  /** Returns one of `options`. */
  of<T>(options: readonly T[]): T {
    return options[this.below(options.length)] as T;
  }

  /** Returns true or false. */
  flip(): boolean {
    return this.below(2) === 1;
  }
}
