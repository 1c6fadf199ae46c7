// stores/filters: the tokens of a limited disk on one thread: what a read or a write takes, of which buckets.
import type { Limits } from './limits.ts';
import { TokenBucket } from './token-bucket.ts';

/** The buckets of requests and bytes of one scope. */
interface Buckets {
  readonly iops: TokenBucket;
  readonly bps: TokenBucket;
}

/** One thread's ends of all buckets of a disk. */
export class DiskTokens {
  readonly #limits: Limits;
  readonly #buckets: { readonly all: Buckets; readonly reads: Buckets; readonly writes: Buckets };
  /** That of the limits by which tokens were taken last. */
  #version: number;

  constructor(limits: Limits) {
    this.#limits = limits;
    this.#version = limits.version;
    const of = (scope: 'all' | 'reads' | 'writes'): Buckets => ({
      iops: new TokenBucket(limits.bucket(scope, 'iops')),
      bps: new TokenBucket(limits.bucket(scope, 'bps')),
    });
    this.#buckets = { all: of('all'), reads: of('reads'), writes: of('writes') };
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
  take(scope: 'reads' | 'writes', bytes: number): number {
    if (this.#version !== this.#limits.version) this.#forget();
    const { all, [scope]: own } = this.#buckets;
    return Math.max(all.iops.take(1), own.iops.take(1), all.bps.take(bytes), own.bps.take(bytes));
  }

  /** Puts the tokens of a request back that did not run. */
  giveBack(scope: 'reads' | 'writes', bytes: number): void {
    for (const { iops, bps } of [this.#buckets.all, this.#buckets[scope]]) {
      iops.giveBack(1);
      bps.giveBack(bytes);
    }
  }

  #forget(): void {
    this.#version = this.#limits.version;
    for (const { iops, bps } of Object.values(this.#buckets)) {
      iops.reset();
      bps.reset();
    }
  }
}
