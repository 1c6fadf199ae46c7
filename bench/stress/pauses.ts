// bench/stress: random pauses, so that two threads meet at every point: mostly none, often a few turns, or a sleep.
import type { SeededRandom } from '../../src/testing/index.ts';

const SPIN_TURNS_MAX = 400;
const SLEEP_MS_MAX = 0.3;

export class Pauses {
  readonly #random: SeededRandom;
  readonly #word = new Int32Array(new SharedArrayBuffer(4));

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** Pauses sometimes. */
  maybe(): void {
    const die = this.#random.below(4096);
    if (die === 0) Atomics.wait(this.#word, 0, 0, this.#random.below(100) * (SLEEP_MS_MAX / 100));
    else if (die < 512) this.#spin();
  }

  /** Pauses every other time, where the two sides are to meet. */
  often(): void {
    if (this.#random.flip()) this.#spin();
    else this.maybe();
  }

  #spin(): void {
    for (let turns = this.#random.below(SPIN_TURNS_MAX); turns > 0; turns--) Atomics.load(this.#word, 0);
  }
}
