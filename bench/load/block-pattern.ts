// bench/load: the content of a block, from its sector, its number of writes and a seed: no two writes are equal.

/** Three words identify the block; the words after them are a sequence that depends on these three. */
const LABEL_WORDS = 3;
const GOLDEN = 0x9e3779b1;

function firstWord(sector: number, generation: number, seed: number): number {
  return (Math.imul(sector, GOLDEN) ^ Math.imul(generation, 0x85ebca6b) ^ Math.imul(seed, 0xc2b2ae35)) >>> 0;
}

/** Fills a block that is written to `sector` for the `generation`th time. */
export function fillPattern(words: Uint32Array, sector: number, generation: number, seed: number): void {
  words[0] = sector;
  words[1] = generation;
  words[2] = seed;
  let word = firstWord(sector, generation, seed);
  for (let i = LABEL_WORDS; i < words.length; i++) {
    words[i] = word;
    word = (word + GOLDEN) | 0;
  }
}

/** Returns what is wrong with a block, as text; undefined when every byte is right. */
export function findMismatch(words: Uint32Array, sector: number, generation: number, seed: number): string | undefined {
  if (words[0] !== sector >>> 0 || words[1] !== generation || words[2] !== seed >>> 0) {
    return `it holds sector ${words[0]}, write ${words[1]}, seed ${words[2]}`;
  }
  let word = firstWord(sector, generation, seed);
  for (let i = LABEL_WORDS; i < words.length; i++) {
    if (words[i] !== word >>> 0)
      return `byte ${4 * i}: 0x${words[i]?.toString(16)}, not 0x${(word >>> 0).toString(16)}`;
    word = (word + GOLDEN) | 0;
  }
  return undefined;
}
