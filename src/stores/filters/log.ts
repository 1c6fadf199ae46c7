// stores/filters: a filter that logs each request of a disk.
import type { MaybePromise, StoreFilter } from '../../devices/blk/block-store.ts';
import { forward, isLater } from './forward.ts';

/** Calls `line` when a request completes: `write 4096 bytes at 8192: ok, 0.012 ms`, or the error in place of `ok`. */
export function log({ line }: { line: (text: string) => void }): StoreFilter {
  const logged =
    <Args extends unknown[]>(member: (...args: Args) => MaybePromise<void>, describe: (...args: Args) => string) =>
    (...args: Args): MaybePromise<void> => {
      const startedMs = performance.now();
      const done = (outcome: string): void =>
        line(`${describe(...args)}: ${outcome}, ${(performance.now() - startedMs).toFixed(3)} ms`);
      const failed = (error: unknown): never => {
        done(`failed: ${causeOf(error)}`);
        throw error;
      };
      let later: PromiseLike<unknown> | undefined;
      try {
        const answer: unknown = member(...args);
        if (isLater(answer)) later = answer;
      } catch (error) {
        failed(error);
      }
      if (later !== undefined) return Promise.resolve(later).then(() => done('ok'), failed);
      done('ok');
    };
  return (next) => {
    const store = forward(next);
    const { read, write, readv, writev, flush, discard, writeZeroes } = store;
    store.read = logged(read, (offset, into) => `read ${range(offset, into.length)}`);
    if (readv) store.readv = logged(readv, (offset, into) => `read ${pieces(offset, into)}`);
    if (write) store.write = logged(write, (offset, from) => `write ${range(offset, from.length)}`);
    if (writev) store.writev = logged(writev, (offset, from) => `write ${pieces(offset, from)}`);
    if (flush) store.flush = logged(flush, () => 'flush');
    if (discard) store.discard = logged(discard, (offset, length) => `discard ${range(offset, length)}`);
    if (writeZeroes) store.writeZeroes = logged(writeZeroes, (offset, length) => `zero ${range(offset, length)}`);
    return store;
  };
}

function range(offset: number, length: number): string {
  return `${length} bytes at ${offset}`;
}

function pieces(offset: number, list: readonly Uint8Array[]): string {
  const length = list.reduce((sum, piece) => sum + piece.length, 0);
  return `${range(offset, length)} in ${list.length} pieces`;
}

/** Returns the message of a thrown value, which need not be an Error. */
function causeOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return 'something that cannot be shown';
  }
}
