// stores/filters: the tokens of a read, or of a write, of a limited disk on one thread: of which buckets they are.
import type { LimitScope, Limits } from './limits.ts';
import { TokenBucket } from './token-bucket.ts';

/** One thread's ends of the buckets of a scope. */
export interface Buckets {
  /** Of requests. */
  readonly iops: TokenBucket;
  /** Of bytes. */
  readonly bps: TokenBucket;
}

/** Returns this thread's ends of the buckets of `scope`. */
export function bucketsOf(limits: Limits, scope: LimitScope): Buckets {
  return { iops: new TokenBucket(limits.bucket(scope, 'iops')), bps: new TokenBucket(limits.bucket(scope, 'bps')) };
}

/** What each read of a disk takes, or each write: of the buckets of all requests, and of those of reads or writes. */
export class RequestTokens {
  readonly #limits: Limits;
  readonly #all: Buckets;
  readonly #own: Buckets;
  /** That of the limits by which tokens were taken last. */
  #version: number;

  /** @param all is the same object for the reads and the writes of a disk. */
  constructor(limits: Limits, all: Buckets, own: Buckets) {
    this.#limits = limits;
    this.#all = all;
    this.#own = own;
    this.#version = limits.version;
  }

  /** The time on the clock of the limits, in ns. */
  get nowNs(): bigint {
    return this.#limits.clock();
  }

  /** Changes when the limits do. What was taken before is void. */
  get version(): number {
    return this.#limits.version;
  }

  /** Takes the tokens of a request. Returns how many ns it has to wait before it may run. */
  take(bytes: number): number {
    if (this.#version !== this.#limits.version) this.#forget();
    const { iops, bps } = this.#all;
    const { iops: ownIops, bps: ownBps } = this.#own;
    return Math.max(iops.take(1), ownIops.take(1), bps.take(bytes), ownBps.take(bytes));
  }

  /** Puts the tokens of a request back that did not run. */
  giveBack(bytes: number): void {
    for (const { iops, bps } of [this.#all, this.#own]) {
      iops.giveBack(1);
      bps.giveBack(bytes);
    }
  }

  #forget(): void {
    this.#version = this.#limits.version;
    for (const { iops, bps } of [this.#all, this.#own]) {
      iops.reset();
      bps.reset();
    }
  }
}
