// cli: the parser of --limit of devices that are no disks: bytes a second, and frames a second where there are any.
import { InvalidArgumentError } from 'commander';
import { parseBytes } from '../stores/size.ts';

/** A limit; what is absent is not limited. */
export interface Rate {
  /** Bytes a second. */
  readonly bps?: number;
  /** Frames a second. */
  readonly pps?: number;
  /** What is saved up, in seconds of both. */
  readonly burst?: number;
}

type Key = keyof Rate;

interface Form {
  readonly parse: (text: string) => number;
  readonly isWithin: (value: number) => boolean;
  readonly wanted: string;
}

const number = (text: string): number => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN);
const FORMS: Readonly<Record<Key, Form>> = {
  bps: {
    parse: (text) => Math.floor(parseBytes(text)),
    isWithin: (value) => value >= 1024 && value <= 2 ** 40,
    wanted: '1K to 1T bytes a second are wanted',
  },
  pps: {
    parse: number,
    isWithin: (value) => Number.isInteger(value) && value >= 1 && value <= 1e8,
    wanted: 'a whole number of frames a second from 1 to 100000000 is wanted',
  },
  burst: {
    parse: number,
    isWithin: (value) => value >= 0.01 && value <= 3600,
    wanted: '0.01 to 3600 seconds are wanted',
  },
};
const EXAMPLES: Readonly<Record<Key, string>> = { bps: 'bps=10M', pps: 'pps=1000', burst: 'burst=2' };

/** Returns a parser of texts such as `bps=10M,burst=2` that takes these keys. */
export function rate(...keys: readonly Key[]): (text: string) => Rate {
  return (text) => {
    const found: { -readonly [key in Key]?: number } = {};
    for (const item of text.split(',')) {
      const [, name = '', value = ''] = /^([^=]*)=(.*)$/.exec(item) ?? [];
      const key = keys.find((one) => one === name);
      if (key === undefined)
        throw wrong(`"${item}" is no limit: write ${keys.map((one) => EXAMPLES[one]).join(' or ')}`);
      if (found[key] !== undefined) throw wrong(`${key} is there twice`);
      found[key] = parsed(key, value);
    }
    if (found.bps === undefined && found.pps === undefined)
      throw wrong(`burst limits nothing by itself: add ${keys.filter((one) => one !== 'burst').join(' or ')}`);
    return found;
  };
}

function parsed(key: Key, text: string): number {
  const { parse, isWithin, wanted } = FORMS[key];
  let value: number;
  try {
    value = parse(text);
  } catch (error) {
    throw wrong(`${key}=${text}: ${(error as Error).message}`);
  }
  if (!isWithin(value)) throw wrong(`${key}=${text}: ${wanted}`);
  return value;
}

function wrong(why: string): InvalidArgumentError {
  return new InvalidArgumentError(`${why}.`);
}
