// cli: parsers of option values: each returns the value or throws one line that says what to type.
import { readFileSync } from 'node:fs';
import { InvalidArgumentError, Option } from 'commander';
import type { MetricsAddress } from '../daemon/metrics/metrics-server.ts';
import { RECORDING_BYTES_MIN } from '../ports/record-frames.ts';
import { type Limit, parseLimit } from '../stores/filters/limits.ts';
import { formatSize, parseBytes, parseSize } from '../stores/size.ts';

/** Returns a parser of whole numbers from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < least || value > most) {
      throw new InvalidArgumentError(`It takes a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** Parses a power of two from 512 to 65536. */
export function blockSize(text: string): number {
  const bytes = Number(text);
  if (!Number.isInteger(bytes) || bytes < 512 || bytes > 65536 || (bytes & (bytes - 1)) !== 0) {
    throw new InvalidArgumentError('It takes a power of two from 512 to 65536.');
  }
  return bytes;
}

/** Parses a serial number: up to 20 bytes of text. */
export function serial(text: string): string {
  if (new TextEncoder().encode(text).length > 20)
    throw new InvalidArgumentError('A serial number has at most 20 bytes.');
  return text;
}

/** Parses seconds, more than 0 and up to a day. */
export function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value <= 86_400))
    throw new InvalidArgumentError('It takes seconds, up to a day.');
  return value;
}

/** Parses `0` or `0,1`: processors that this machine has. */
export function cpuList(text: string): readonly number[] {
  const parse = wholeNumber(0, lastProcessor());
  return text.split(',').map(parse);
}

/** Returns the number of the last processor: the file has `0-3` or `0,2-7`. */
function lastProcessor(): number {
  const list = readFileSync('/sys/devices/system/cpu/present', 'utf8');
  return Number(/\d+$/.exec(list.trim())?.[0] ?? 0);
}

/** Parses `iops=500,bps=10M,burst=2`. */
export function limit(text: string): Limit {
  try {
    return parseLimit(text);
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
}

/** Returns a parser of sizes such as 512M, of at least `least` bytes. */
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

/** Parses the largest size of a recording, such as 64M. */
export function fileSize(text: string): number {
  let bytes: number;
  try {
    bytes = Math.floor(parseBytes(text));
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
  if (bytes < RECORDING_BYTES_MIN)
    throw new InvalidArgumentError(`It takes at least ${formatSize(RECORDING_BYTES_MIN)}.`);
  return bytes;
}

/** An option that takes a size, and shows its default with a unit: 512 MiB. */
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

/** Parses `9420`, `:9420`, `0.0.0.0:9420` or `[::]:9420`. Without an address it is the loopback. */
export function metricsAddress(text: string): MetricsAddress {
  const [, host = '', digits = ''] = /^(?:(\[[0-9a-fA-F:.]+\]|[^:[\]]*):)?(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === '' || port > 65_535)
    throw new InvalidArgumentError('It takes PORT or ADDRESS:PORT, e.g. 127.0.0.1:9420.');
  return { host: host === '' ? '127.0.0.1' : host.replaceAll(/[[\]]/g, ''), port };
}
