// stores/filters: how much a disk, or a group of disks, may do in a second; in memory that all their threads share.
import { formatSize, parseBytes } from '../size.ts';
import { BUCKET_WORDS, type Clock, SharedBucket } from './token-bucket.ts';

/** A limit: what is absent is not limited. */
export interface Limit {
  /** Requests a second: a whole number from 1 to 10,000,000. */
  readonly iops?: number | undefined;
  /** Bytes a second: a whole number from 1024 to 2^40. */
  readonly bps?: number | undefined;
  /**
   * How much an idle disk saves up, in seconds of `iops` and of `bps`: 0.01 to 3600, default 1. With `iops: 500` and
   * `burst: 2`, a disk that was idle serves 1000 requests at once, and then 500 a second.
   */
  readonly burst?: number | undefined;
}

/** A limit of all requests together, and further ones of reads and of writes. */
export interface LimitOptions extends Limit {
  readonly reads?: Limit | undefined;
  readonly writes?: Limit | undefined;
}

/** What a limit can be of. */
export const SCOPES = ['all', 'reads', 'writes'] as const;
const UNITS = ['iops', 'bps'] as const;

/** The requests that a limit counts. */
export type LimitScope = (typeof SCOPES)[number];

const BURST_DEFAULT = 1;
const IOPS_MAX = 10_000_000;
const BPS_MIN = 1024;
const BPS_MAX = 2 ** 40;
const BURST_MIN = 0.01;
const BURST_MAX = 3600;

/**
 * The limits of a disk, or of a group of disks that share them, on any threads of this process: post `memory` to
 * another thread, and make another object from it there. They can be changed at any time, on any thread.
 *
 * @example
 * const limits = new Limits({ iops: 500, writes: { bps: 10 * 1024 ** 2 } });
 * const disk = limit(limits)(memory(1024 ** 3));
 */
export class Limits {
  readonly memory: SharedArrayBuffer;
  /** In ns, the same on all threads. */
  readonly clock: Clock;
  /** The first one counts the changes; a bucket follows for each scope and unit. */
  readonly #words: BigInt64Array;
  /** The lower half of the first word. */
  readonly #version: Int32Array;

  /**
   * @param limits or the `memory` of other limits, to share those. Throws RangeError where a value is out of its range.
   * @param clock for tests. Default: CLOCK_MONOTONIC.
   */
  constructor(limits: LimitOptions | SharedArrayBuffer, clock: Clock = process.hrtime.bigint) {
    const isShared = limits instanceof SharedArrayBuffer;
    this.memory = isShared ? limits : new SharedArrayBuffer(8 * (1 + SCOPES.length * UNITS.length * BUCKET_WORDS));
    this.clock = clock;
    this.#words = new BigInt64Array(this.memory);
    this.#version = new Int32Array(this.memory);
    if (isShared) return;
    this.#store('all', limits, true);
    this.#store('reads', limits.reads ?? {}, true);
    this.#store('writes', limits.writes ?? {}, true);
  }

  /**
   * Replaces the limit of all requests, or of reads or writes; `{}` removes it. It holds from then on, with nothing
   * saved up, and without the debt of earlier requests. Throws RangeError where a value is out of its range; then
   * nothing has changed.
   */
  set(limit: Limit, scope: LimitScope = 'all'): void {
    this.#store(scope, limit, false);
    Atomics.add(this.#version, 0, 1);
  }

  #store(scope: LimitScope, limit: Limit, isFull: boolean): void {
    checkLimit(limit);
    for (const unit of UNITS) this.bucket(scope, unit).set(limit[unit] ?? 0, limit.burst ?? BURST_DEFAULT, isFull);
  }

  /** The limit of a scope as it is now; 0 where there is none. */
  get(scope: LimitScope): { readonly iops: number; readonly bps: number; readonly burst: number } {
    const [iops, bps] = UNITS.map((unit) => this.bucket(scope, unit));
    return { iops: iops?.rate ?? 0, bps: bps?.rate ?? 0, burst: iops?.burstSeconds ?? BURST_DEFAULT };
  }

  /** It changes with every `set`. */
  get version(): number {
    return Atomics.load(this.#version, 0);
  }

  /** The bucket of requests (`iops`) or bytes (`bps`) of a scope. */
  bucket(scope: LimitScope, unit: (typeof UNITS)[number]): SharedBucket {
    const index = SCOPES.indexOf(scope) * UNITS.length + UNITS.indexOf(unit);
    return new SharedBucket(this.#words, 1 + index * BUCKET_WORDS, this.clock);
  }
}

/** Throws RangeError: one line that says which value is wrong and what is wanted. */
function checkLimit({ iops, bps, burst }: Limit): void {
  if (iops !== undefined && !(Number.isInteger(iops) && iops >= 1 && iops <= IOPS_MAX))
    throw new RangeError(`iops=${iops}: a whole number of requests a second from 1 to ${IOPS_MAX} is wanted`);
  if (bps !== undefined && !(Number.isInteger(bps) && bps >= BPS_MIN && bps <= BPS_MAX))
    throw new RangeError(`bps=${bps}: ${formatSize(BPS_MIN)} to ${formatSize(BPS_MAX)} bytes a second are wanted`);
  if (burst !== undefined && !(burst >= BURST_MIN && burst <= BURST_MAX))
    throw new RangeError(`burst=${burst}: ${BURST_MIN} to ${BURST_MAX} seconds are wanted`);
  if (burst !== undefined && iops === undefined && bps === undefined)
    throw new RangeError('burst limits nothing by itself: add iops or bps');
}

const PARSERS = {
  iops: parseNumber,
  // A size such as 1.3K need not be a whole number of bytes.
  bps: (text: string) => Math.floor(parseBytes(text)),
  burst: parseNumber,
};

function parseNumber(text: string): number {
  if (!/^-?\d+(\.\d+)?$/.test(text)) throw new RangeError(`"${text}" is not a number`);
  return Number(text);
}

/** Returns the limit of a text such as `iops=500,bps=10M,burst=2`. Throws RangeError that says what is wanted. */
export function parseLimit(text: string): Limit {
  const limit: { -readonly [key in keyof Limit]: number } = {};
  for (const item of text.split(',')) {
    const [, key = '', value = ''] = /^([^=]*)=(.*)$/.exec(item) ?? [];
    if (!Object.hasOwn(PARSERS, key)) throw new RangeError(`"${item}" is no limit: write iops=500, bps=10M or burst=2`);
    const name = key as keyof typeof PARSERS;
    if (limit[name] !== undefined) throw new RangeError(`${name} is there twice`);
    try {
      limit[name] = PARSERS[name](value);
    } catch (error) {
      throw new RangeError(`${name}=${value}: ${(error as Error).message}`);
    }
  }
  checkLimit(limit);
  return limit;
}
