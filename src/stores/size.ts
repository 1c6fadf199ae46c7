// Stores: sizes as people write them: 512M, 1G. The letters are powers of 1024.

const LETTERS = 'KMGT';
const SECTOR_BYTES = 512;

/** Reads a disk size into bytes. Throws RangeError that says what to write instead. */
export function parseSize(text: string): number {
  const [, digits = '', letter = ''] = /^(\d+)([KMGT]?)$/i.exec(text) ?? [];
  if (digits === '') throw new RangeError(`"${text}" is not a size: write a number and K, M, G or T, as in 512M or 1G`);
  const sizeBytes = Number(digits) * 1024 ** (letter === '' ? 0 : LETTERS.indexOf(letter.toUpperCase()) + 1);
  if (sizeBytes === 0 || sizeBytes % SECTOR_BYTES !== 0)
    throw new RangeError(`a disk of ${text} bytes: the size must be a multiple of ${SECTOR_BYTES}, and not 0`);
  if (!Number.isSafeInteger(sizeBytes)) throw new RangeError(`a disk of ${text} is too large`);
  return sizeBytes;
}

/** Writes bytes as `parseSize` reads them, with the largest letter that loses nothing. */
export function formatSize(sizeBytes: number): string {
  let value = sizeBytes;
  let letters = 0;
  for (; letters < LETTERS.length && value > 0 && value % 1024 === 0; letters++) value /= 1024;
  return `${value}${letters === 0 ? '' : LETTERS[letters - 1]}`;
}
