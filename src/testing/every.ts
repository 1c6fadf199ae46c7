// testing: walks every combination of the choices that a test makes; the test need not know how many there are.
import { Chooser } from './chooser.ts';

/** One path through the tree of choices. */
class Path extends Chooser {
  readonly #taken: number[] = [];
  readonly #counts: number[] = [];
  #depth = 0;

  below(count: number): number {
    const depth = this.#depth++;
    if (depth === this.#taken.length) {
      if (count < 1) throw new RangeError(`a choice among ${count}`);
      this.#taken.push(0);
      this.#counts.push(count);
    }
    if (this.#counts[depth] !== count)
      throw new Error(`choice ${depth} was among ${this.#counts[depth]} before and is among ${count} now`);
    return this.#taken[depth] as number;
  }

  /** Advances to the next path; returns false when this was the last. */
  advance(): boolean {
    if (this.#depth < this.#taken.length) throw new Error('a path ended before its choices did');
    this.#depth = 0;
    while (this.#taken.length > 0) {
      const last = this.#taken.length - 1;
      this.#taken[last] = (this.#taken[last] as number) + 1;
      if (this.#taken[last] < (this.#counts[last] as number)) return true;
      this.#taken.pop();
      this.#counts.pop();
    }
    return false;
  }

  override toString(): string {
    return this.#taken.join(' ');
  }
}

/**
 * `for (const choose of every()) { … choose.below(3) … }` runs its body once for each combination of choices. A choice
 * may depend on earlier ones, and on nothing else. `String(choose)` names the combination.
 */
export function* every(): Generator<Chooser> {
  const path = new Path();
  do yield path;
  while (path.advance());
}
