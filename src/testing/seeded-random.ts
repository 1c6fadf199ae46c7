// testing: random numbers that can be repeated. The generator is sfc32 (PractRand's small fast counting generator).
import { Chooser } from './chooser.ts';

/**
 * Random numbers that can be repeated (sfc32): a test that fails reports its seed.
 *
 * @example
 * const random = new SeededRandom(42);
 * random.fill(new Uint8Array(512));
 * random.of(['read', 'write']);
 */
export class SeededRandom extends Chooser {
  #a: number;
  #b: number;
  #c = 0;
  #counter = 1;

  /** @param seed the same seed gives the same numbers; seeds count modulo 2^53. */
  constructor(seed: number) {
    super();
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    for (let i = 0; i < 12; i++) this.uint32();
  }

  /** Returns a whole number from 0 to 2^32 - 1. */
  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  below(count: number): number {
    return Math.floor((this.uint32() / 2 ** 32) * count);
  }

  /** Returns true with a probability of 1 in `count`. */
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  /** Overwrites `bytes` with random ones. */
  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.uint32();
  }
}
