// Stores: a filter that tells what a disk is asked, a line for each request.
import type { MaybePromise, StoreFilter } from '../../devices/blk/block-store.ts';
import { forward } from './forward.ts';

/** Calls `line` when a request is done: `write 4096 bytes at 8192: ok, 0.012 ms`, or in place of `ok` why it failed. */
export function log({ line }: { line: (text: string) => void }): StoreFilter {
  const tell = (what: string, request: () => MaybePromise<void>): MaybePromise<void> => {
    const startedMs = performance.now();
    const done = (outcome: string): void =>
      line(`${what}: ${outcome}, ${(performance.now() - startedMs).toFixed(3)} ms`);
    const failed = (error: unknown): never => {
      done(`failed: ${error instanceof Error ? error.message : String(error)}`);
      throw error;
    };
    try {
      const result = request();
      if (result !== undefined) return result.then(() => done('ok'), failed);
    } catch (error) {
      failed(error);
    }
    done('ok');
  };
  const range = (offset: number, length: number): string => `${length} bytes at ${offset}`;
  const pieces = (offset: number, list: readonly Uint8Array[]): string =>
    `${range(
      offset,
      list.reduce((sum, piece) => sum + piece.length, 0),
    )} in ${list.length} pieces`;
  return (next) => {
    const store = forward(next);
    const { read, write, readv, writev, flush, discard, writeZeroes } = store;
    store.read = (offset, into) => tell(`read ${range(offset, into.length)}`, () => read(offset, into));
    if (readv) store.readv = (offset, into) => tell(`read ${pieces(offset, into)}`, () => readv(offset, into));
    if (write) store.write = (offset, from) => tell(`write ${range(offset, from.length)}`, () => write(offset, from));
    if (writev) store.writev = (offset, from) => tell(`write ${pieces(offset, from)}`, () => writev(offset, from));
    if (flush) store.flush = () => tell('flush', flush);
    if (discard)
      store.discard = (offset, length) => tell(`discard ${range(offset, length)}`, () => discard(offset, length));
    if (writeZeroes)
      store.writeZeroes = (offset, length, mayUnmap) =>
        tell(`zero ${range(offset, length)}`, () => writeZeroes(offset, length, mayUnmap));
    return store;
  };
}
