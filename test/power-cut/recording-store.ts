// test/power-cut: a filter that records every write, discard, write-zeroes and flush that reaches the store below it.
import type { BlockStore, MaybePromise, StoreFilter } from '../../src/index.ts';
import { forward } from '../../src/index.ts';
import type { DataChange, Recording, Running } from './recording.ts';

/** The store has a `flush` even where the one below has none: it is the disk, with a volatile write cache. */
export function recordingStore(recording: Recording): StoreFilter {
  return (next) => {
    const store = forward(next);
    const { write, discard, writeZeroes } = next;
    if (write === undefined) throw new TypeError('a store without write has nothing to record');
    const record = (change: DataChange, act: () => MaybePromise<void>): MaybePromise<void> =>
      whenEnded(recording.change(change), act);
    store.write = (offset, from, signal) => {
      // A copy, since the guest may change its memory between the record and the write.
      const bytes = from.slice();
      return record({ kind: 'write', offset, bytes }, () => write.call(next, offset, bytes, signal));
    };
    // A request in pieces is one write.
    store.writev = (offset, from, signal) => store.write?.(offset, joined(from), signal);
    if (discard)
      store.discard = (offset, length, signal) =>
        record({ kind: 'discard', offset, length }, () => discard.call(next, offset, length, signal));
    if (writeZeroes)
      store.writeZeroes = (offset, length, mayUnmap, signal) =>
        record({ kind: 'write-zeroes', offset, length }, () =>
          writeZeroes.call(next, offset, length, mayUnmap, signal),
        );
    store.flush = (signal) => whenEnded(recording.flush(), () => next.flush?.(signal));
    return store satisfies BlockStore;
  };
}

function whenEnded(running: Running, act: () => MaybePromise<void>): MaybePromise<void> {
  const answer: unknown = act();
  if (answer instanceof Promise) return answer.then(() => running.end());
  running.end();
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return bytes;
}
