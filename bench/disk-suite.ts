// bench: the cells of `bench blk --suite disk`: block size, operation, depth, and whether the page cache is used.
import { formatSize, parseSize } from '../src/index.ts';
import type { BlkCase } from './blk-cases.ts';
import type { LoadSpec } from './load/load-spec.ts';
import { CACHES, type Cache } from './page-cache.ts';

/** The words that select cells, by what they select. */
const KINDS = {
  cache: CACHES,
  size: ['4K', '64K', '1M'],
  operation: ['read', 'write'],
  depth: ['1', '16', '64'],
} as const;

export const CELL_WORDS: readonly string[] = Object.values(KINDS).flat();

/** Of each kind, the values that are measured. */
export type CellChoice = { readonly [Kind in keyof typeof KINDS]: readonly (typeof KINDS)[Kind][number][] };

export const ALL_CELLS: CellChoice = KINDS;

/**
 * Parses `4K,read,direct`: of each kind the values that are named, all where none is named. Throws RangeError for an
 * unknown word.
 */
export function parseCells(list: string): CellChoice {
  const words = list.split(',').map((word) => word.trim().toLowerCase());
  const unknown = words.find((word) => !CELL_WORDS.some((known) => known.toLowerCase() === word));
  if (unknown !== undefined) throw new RangeError(`some of ${CELL_WORDS.join(',')}`);
  const chosen = <Word extends string>(all: readonly Word[]): readonly Word[] => {
    const named = all.filter((word) => words.includes(word.toLowerCase()));
    return named.length > 0 ? named : all;
  };
  return {
    cache: chosen(KINDS.cache),
    size: chosen(KINDS.size),
    operation: chosen(KINDS.operation),
    depth: chosen(KINDS.depth),
  };
}

/** Returns a case for each cell; blocks are random. `base` has the fields that they have in common. */
export function diskSuite(base: LoadSpec, choice: CellChoice = ALL_CELLS): BlkCase[] {
  const cells: BlkCase[] = [];
  for (const cache of choice.cache)
    for (const size of choice.size)
      for (const operation of choice.operation)
        for (const depth of choice.depth) {
          const load: LoadSpec = {
            ...base,
            operation: operation === 'read' ? 'randread' : 'randwrite',
            blockBytes: parseSize(size),
            depth: Number(depth),
          };
          cells.push({ name: cellName(load, cache), load, backEndPolls: false, cache });
        }
  return cells;
}

function cellName({ operation, blockBytes, depth, queues }: LoadSpec, cache: Cache): string {
  const many = queues === 1 ? '' : `, ${queues} queues`;
  return `${cache}, ${operation.replace('rand', '')} ${formatSize(blockBytes)}, depth ${depth}${many}`;
}
