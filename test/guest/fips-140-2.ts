// test/guest: the statistical tests of FIPS 140-2 (4.9.1) for random numbers, as rngtest(1) makes them: 20,000 bits.

export const FIPS_BYTES = 2500;
const RUN_LENGTHS: readonly (readonly [least: number, most: number])[] = [
  [2315, 2685],
  [1114, 1386],
  [527, 723],
  [240, 384],
  [103, 209],
  [103, 209],
];
const LONG_RUN = 26;

/** The names of the tests that a block of FIPS_BYTES fails. One of 1250 blocks of perfect random numbers fails one. */
export function failedFipsTests(block: Uint8Array): string[] {
  const bits = Array.from(block.subarray(0, FIPS_BYTES), (byte) => byte.toString(2).padStart(8, '0')).join('');
  const runs = bits.match(/0+|1+/g) ?? [];
  const failed: [name: string, isFailed: boolean][] = [
    ['monobit', !isWithin(bits.replaceAll('0', '').length, 9726, 10274)],
    ['poker', !isWithin(poker(block), 2.16, 46.17)],
    ['runs', !hasUsualRuns(runs)],
    ['long run', runs.some(({ length }) => length >= LONG_RUN)],
  ];
  return failed.filter(([, isFailed]) => isFailed).map(([name]) => name);
}

function poker(block: Uint8Array): number {
  const counts = new Array<number>(16).fill(0);
  for (const byte of block.subarray(0, FIPS_BYTES))
    for (const half of [byte >> 4, byte & 15]) counts[half] = (counts[half] as number) + 1;
  const squares = counts.reduce((sum, count) => sum + count * count, 0);
  return (16 / (2 * FIPS_BYTES)) * squares - 2 * FIPS_BYTES;
}

/** Runs of zeroes and of ones by themselves: of 1 to 5 bits, and of 6 and more. */
function hasUsualRuns(runs: readonly string[]): boolean {
  return ['0', '1'].every((bit) =>
    RUN_LENGTHS.every(([least, most], i) => {
      const isLast = i === RUN_LENGTHS.length - 1;
      const count = runs.filter((run) => run[0] === bit && (isLast ? run.length > i : run.length === i + 1)).length;
      return isWithin(count, least, most);
    }),
  );
}

function isWithin(value: number, least: number, most: number): boolean {
  return value >= least && value <= most;
}
