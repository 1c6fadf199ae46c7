// stores: parses and formats sizes: 512M, 1.5G, 1GiB. The letters are powers of 1024.

const LETTERS = 'KMGT';
const SECTOR_BYTES = 512;
const FORM = /^(\d+(?:\.\d+)?)(?:([KMGT])(i?B)?)?$/i;

/**
 * Returns a number of bytes. `text` is a number, or one with K, M, G, T or KiB, MiB, GiB, TiB, in either case. Throws
 * RangeError that says what to write instead.
 */
export function parseBytes(text: string): number {
  const [, digits, letter = '', unit = ''] = FORM.exec(text) ?? [];
  if (digits === undefined)
    throw new RangeError(`"${text}" is not a size: write a number and K, M, G or T, as in 512M or 1.5G`);
  const power = letter === '' ? 0 : LETTERS.indexOf(letter.toUpperCase()) + 1;
  if (unit.toUpperCase() === 'B') throw new RangeError(ambiguous(text, digits, letter, power));
  return Number(digits) * 1024 ** power;
}

/** Returns the size of a disk in bytes, from a text as for `parseBytes`. Throws RangeError, as that does. */
export function parseSize(text: string): number {
  const sizeBytes = parseBytes(text);
  if (!(sizeBytes <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`a disk of ${text} is too large`);
  if (sizeBytes === 0 || sizeBytes % SECTOR_BYTES !== 0) throw new RangeError(odd(text, sizeBytes));
  return sizeBytes;
}

function ambiguous(text: string, digits: string, letter: string, power: number): string {
  const [decimal, binary] = [1000, 1024].map((base) => Math.round(Number(digits) * base ** power));
  const inPowers = `${digits}${letter.toUpperCase()}iB`;
  return `"${text}" means ${decimal} bytes to some tools and ${binary} to others: write ${inPowers} for ${binary}, or a number of bytes`;
}

function odd(text: string, sizeBytes: number): string {
  const next = Math.ceil(Math.max(sizeBytes, 1) / SECTOR_BYTES) * SECTOR_BYTES;
  return `a disk of ${text} bytes: the size must be a multiple of ${SECTOR_BYTES}, and not 0; the next is ${next}`;
}

/** Formats a number of bytes for `parseSize`, with the largest letter that is exact. */
export function formatSize(sizeBytes: number): string {
  let value = sizeBytes;
  let letters = 0;
  for (; letters < LETTERS.length && value > 0 && value % 1024 === 0; letters++) value /= 1024;
  return `${value}${letters === 0 ? '' : LETTERS[letters - 1]}`;
}
