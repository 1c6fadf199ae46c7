// Upper floor: option values as they are typed, each turned into what it means or into one line that says what to type.
import { readFileSync } from 'node:fs';
import { InvalidArgumentError, Option } from 'commander';
import { formatSize, parseSize } from '../stores/size.ts';

/** An option that takes a whole number from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < least || value > most) {
      throw new InvalidArgumentError(`It takes a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** A power of two from 512 to 65536. */
export function blockSize(text: string): number {
  const bytes = Number(text);
  if (!Number.isInteger(bytes) || bytes < 512 || bytes > 65536 || (bytes & (bytes - 1)) !== 0) {
    throw new InvalidArgumentError('It takes a power of two from 512 to 65536.');
  }
  return bytes;
}

/** Up to 20 bytes of text. */
export function serial(text: string): string {
  if (new TextEncoder().encode(text).length > 20)
    throw new InvalidArgumentError('A serial number has at most 20 bytes.');
  return text;
}

/** Up to a day. */
export function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value <= 86_400))
    throw new InvalidArgumentError('It takes seconds, up to a day.');
  return value;
}

/** `0` or `0,1`: processors that this machine has. */
export function cpuList(text: string): readonly number[] {
  const parse = wholeNumber(0, lastProcessor());
  return text.split(',').map(parse);
}

/** Its number: of `0-3` or `0,2-7`, the last. */
function lastProcessor(): number {
  const list = readFileSync('/sys/devices/system/cpu/present', 'utf8');
  return Number(/\d+$/.exec(list.trim())?.[0] ?? 0);
}

/** A disk size as people write it, of at least `least` bytes. */
export function diskSize(least: number): (text: string) => number {
  return (text) => {
    let sizeBytes: number;
    try {
      sizeBytes = parseSize(text);
    } catch (error) {
      throw new InvalidArgumentError(`${(error as Error).message}.`);
    }
    if (sizeBytes < least) throw new InvalidArgumentError(`It takes at least ${formatSize(least)}.`);
    return sizeBytes;
  };
}

/** An option that takes a size, and shows its default as people read it: 512 MiB. */
export function sizeOption(
  flags: string,
  description: string,
  parse: (text: string) => number,
  defaultBytes: number,
): Option {
  return new Option(flags, description).argParser(parse).default(defaultBytes, sizeText(defaultBytes));
}

function sizeText(bytes: number): string {
  return formatSize(bytes).replace(/([KMGT])$/, ' $1iB');
}
