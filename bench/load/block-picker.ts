// bench/load: picks the next block, in order or at random from a seed. Pure; a nanosecond or two a block.

export interface BlockRange {
  /** Number of the first block. */
  readonly first: number;
  readonly count: number;
}

/** Returns the part of a disk of `blocks` blocks that belongs to queue `index` of `queues`. */
export function partOf(blocks: number, index: number, queues: number): BlockRange {
  const first = Math.floor((blocks * index) / queues);
  return { first, count: Math.floor((blocks * (index + 1)) / queues) - first };
}

export class BlockPicker {
  readonly #first: number;
  readonly #count: number;
  readonly #random: boolean;
  #state: number;
  #next = 0;

  constructor(range: BlockRange, random: boolean, seed: number) {
    this.#first = range.first;
    this.#count = range.count;
    this.#random = random;
    // Xorshift stays at zero for ever; multiplying spreads seeds 1, 2, 3 apart.
    this.#state = Math.imul(seed, 0x9e3779b1) | 1;
  }

  next(): number {
    if (this.#random) return this.#first + this.below(this.#count);
    const block = this.#next;
    this.#next = block + 1 === this.#count ? 0 : block + 1;
    return this.#first + block;
  }

  /** A random whole number from 0 to `limit` - 1: Marsaglia's 32-bit xorshift. */
  below(limit: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return Math.floor((state >>> 0) * (limit / 2 ** 32));
  }
}
