// stores/filters: the reads or the writes of a limited disk on one thread, and those that wait for tokens, in order.
import type { RequestTokens } from './request-tokens.ts';

/** A request that waits. */
export interface WaitingRequest {
  readonly bytes: number;
  readonly signal: AbortSignal | undefined;
  readonly run: () => void;
  readonly reject: (why: unknown) => void;
}

/**
 * The reads or the writes of a disk. Only the first one that waits has taken its tokens, before they are there: so it
 * knows when it may run, and the first ones of all threads that share a bucket take turns.
 */
export class LimitedRequests {
  readonly #tokens: RequestTokens;
  #waiting: WaitingRequest[] = [];
  /** When the first one may run, in ns of the clock, by which version of the limits. */
  #dueNs = 0n;
  #version = 0;

  constructor(tokens: RequestTokens) {
    this.#tokens = tokens;
  }

  /** Takes the tokens of a request. Returns whether it may run now; if not, `add` it next. */
  mayRun(bytes: number): boolean {
    if (this.#waiting.length > 0) return false;
    const waitNs = this.#tokens.take(bytes);
    if (waitNs === 0) return true;
    this.#tookForFirst(waitNs);
    return false;
  }

  #tookForFirst(waitNs: number): void {
    this.#dueNs = this.#tokens.nowNs + BigInt(waitNs);
    this.#version = this.#tokens.version;
  }

  /** Adds a request for which `mayRun` returned false. Returns whether it is the first one. */
  add(request: WaitingRequest): boolean {
    return this.#waiting.push(request) === 1;
  }

  /** How many ns the first one has to wait; Infinity if there is none. */
  get waitNs(): number {
    return this.#waiting.length === 0 ? Infinity : Math.max(0, Number(this.#dueNs - this.#tokens.nowNs));
  }

  /** Runs those whose time has come. */
  runDue(): void {
    // What the first one took of the old limits is void.
    if (this.#waiting.length > 0 && this.#version !== this.#tokens.version) this.#takeForFirst();
    while (this.waitNs === 0) {
      const first = this.#waiting.shift() as WaitingRequest;
      this.#takeForFirst();
      first.run();
    }
  }

  #takeForFirst(): void {
    const [first] = this.#waiting;
    if (first !== undefined) this.#tookForFirst(this.#tokens.take(first.bytes));
  }

  /** Takes out those that wait, or those of them with `signal`. The caller runs or rejects them. */
  takeOut(signal?: AbortSignal): WaitingRequest[] {
    const [first] = this.#waiting;
    const takenOut = this.#waiting.filter((request) => signal === undefined || request.signal === signal);
    this.#waiting = this.#waiting.filter((request) => !takenOut.includes(request));
    if (first !== undefined && first !== this.#waiting[0]) {
      if (this.#version === this.#tokens.version) this.#tokens.giveBack(first.bytes);
      this.#takeForFirst();
    }
    return takenOut;
  }
}
