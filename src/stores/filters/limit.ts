// stores/filters: a filter that limits the requests and bytes a second of a disk.
import type { MaybePromise, StoreFilter, StoreLoop } from '../../devices/blk/block-store.ts';
import { forward } from './forward.ts';
import { LimitedRequests } from './limited-requests.ts';
import type { Limits } from './limits.ts';
import { lengthOfAll, readPieces, writePieces } from './pieces.ts';
import { bucketsOf, RequestTokens } from './request-tokens.ts';

/** The longest sleep while requests wait: after it a thread sees that another one has changed the limits. */
const SLEEP_MAX_MS = 100;

/**
 * Limits the requests and bytes a second. A request that finds no tokens waits for them, behind those that wait
 * already: reads in their order, writes in theirs. One that finds them is as synchronous as without the filter.
 *
 * A read or write in several pieces is one request. A discard or a write of zeroes is a write of no bytes. A flush is
 * not limited: it has no data of its own, and the writes that it makes durable were limited.
 *
 * Until `attach` it waits with Node's timer, which keeps the process running: a request is not done yet.
 *
 * @example
 * const disk = limit(new Limits({ iops: 500, bps: 10 * 1024 ** 2, burst: 2 }))(memory(1024 ** 3));
 */
export function limit(limits: Limits): StoreFilter {
  return (next) => {
    const all = bucketsOf(limits, 'all');
    const reads = new LimitedRequests(new RequestTokens(limits, all, bucketsOf(limits, 'reads')));
    const writes = new LimitedRequests(new RequestTokens(limits, all, bucketsOf(limits, 'writes')));
    const waits = new Waits([reads, writes]);
    const store = forward(next);
    const { read, write, discard, writeZeroes, attach, close } = store;
    const writev = writePieces(next);
    store.read = limited(waits, reads, lengthOf, read);
    store.readv = limited(waits, reads, lengthOfAll, readPieces(next));
    if (write) store.write = limited(waits, writes, lengthOf, write);
    if (writev) store.writev = limited(waits, writes, lengthOfAll, writev);
    if (discard) store.discard = limited(waits, writes, noBytes, discard);
    if (writeZeroes)
      store.writeZeroes = (offset, length, mayUnmap, signal) => {
        if (writes.mayRun(0)) return writeZeroes(offset, length, mayUnmap, signal);
        return waits.add(writes, 0, signal, () => writeZeroes(offset, length, mayUnmap, signal));
      };
    store.attach = (loop) => {
      waits.attach(loop);
      attach?.(loop);
    };
    store.close = () => {
      waits.close();
      return close?.();
    };
    return store;
  };
}

/** A member of a store, and the second argument of it. */
type Member<Data> = (offset: number, data: Data, signal?: AbortSignal) => MaybePromise<void>;

const lengthOf = ({ length }: Uint8Array): number => length;
const noBytes = (): number => 0;

/** Returns `member` as it runs when it has its tokens. */
function limited<Data>(
  waits: Waits,
  requests: LimitedRequests,
  bytesOf: (data: Data) => number,
  member: Member<Data>,
): Member<Data> {
  return (offset, data, signal) => {
    const bytes = bytesOf(data);
    if (requests.mayRun(bytes)) return member(offset, data, signal);
    return waits.add(requests, bytes, signal, () => member(offset, data, signal));
  };
}

/** Wakes the requests of a disk that wait, with one timer, which runs only while there are any. */
class Waits {
  readonly #all: readonly LimitedRequests[];
  readonly #signals = new WeakSet<AbortSignal>();
  #loop: Pick<StoreLoop, 'timer'> = { timer: nodeTimer };
  #timer: Disposable | undefined;

  constructor(all: readonly LimitedRequests[]) {
    this.#all = all;
  }

  attach(loop: StoreLoop): void {
    this.#loop = loop;
    this.#arm();
  }

  /** Adds a request that may not run now. Returns a promise of what `run` returns. */
  add(
    requests: LimitedRequests,
    bytes: number,
    signal: AbortSignal | undefined,
    run: () => MaybePromise<void>,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const isFirst = requests.add({ bytes, signal, run: () => resolve(new Promise((done) => done(run()))), reject });
    if (signal !== undefined) this.#watch(signal);
    if (isFirst) this.#arm();
    return promise;
  }

  /** One signal for all requests of a run of a queue: one listener. */
  #watch(signal: AbortSignal): void {
    if (signal.aborted) return this.#abort(signal);
    if (this.#signals.has(signal)) return;
    this.#signals.add(signal);
    signal.addEventListener('abort', () => this.#abort(signal), { once: true });
  }

  /**
   * Their queue has to stop, and its time is over: they run at once. Failing them would give a guest that is paused or
   * migrated errors of a disk that has none.
   */
  #abort(signal: AbortSignal): void {
    for (const requests of this.#all) for (const { run } of requests.takeOut(signal)) run();
    this.#arm();
  }

  #arm(): void {
    this.#timer?.[Symbol.dispose]();
    const waitMs = Math.min(...this.#all.map(({ waitNs }) => waitNs)) / 1e6;
    this.#timer = waitMs === Infinity ? undefined : this.#loop.timer(Math.min(waitMs, SLEEP_MAX_MS), this.#wake);
  }

  readonly #wake = (): void => {
    for (const requests of this.#all) requests.runDue();
    this.#arm();
  };

  close(): void {
    const why = new Error('the disk was closed while the request waited');
    for (const requests of this.#all) for (const { reject } of requests.takeOut()) reject(why);
    this.#arm();
  }
}

function nodeTimer(delayMs: number, task: () => void): Disposable {
  const timer = setTimeout(task, delayMs);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
