// stores: direct I/O for data anywhere in memory: what is not aligned is copied.
import type { BlockStore, MaybePromise } from '../devices/blk/block-store.ts';
import { alignedBytes, isAligned } from '../sys/direct-io.ts';
import { forward, isLater } from './filters/forward.ts';
import { eachPart, lengthOfAll } from './filters/pieces.ts';

/**
 * Serves a store whose data in memory has to be aligned. A copy is as large as its request, and freed with it: they
 * take no more memory than all requests in flight, which a device bounds (64 MiB on each thread).
 */
export function alignedMemory(next: BlockStore, alignment: number): BlockStore {
  const store = forward(next);
  const { read, write, readv, writev } = store;
  const areAligned = (pieces: readonly Uint8Array[]): boolean => pieces.every((piece) => isAligned(piece, alignment));

  store.read = (offset, into, signal) => {
    if (isAligned(into, alignment)) return read(offset, into, signal);
    const copy = alignedBytes(into.length, alignment);
    return afterwards(read(offset, copy, signal), () => into.set(copy));
  };
  if (readv)
    store.readv = (offset, into, signal) => {
      if (areAligned(into)) return readv(offset, into, signal);
      const copy = alignedBytes(lengthOfAll(into), alignment);
      return afterwards(read(offset, copy, signal), () => eachPart(copy, into, (part, piece) => piece.set(part)));
    };
  if (write) store.write = (offset, from, signal) => write(offset, aligned([from], alignment), signal);
  if (write && writev)
    store.writev = (offset, from, signal) => {
      if (areAligned(from)) return writev(offset, from, signal);
      return write(offset, aligned(from, alignment), signal);
    };
  return store;
}

/** Returns the only piece if it is aligned, else a copy of all pieces. */
function aligned(pieces: readonly Uint8Array[], alignment: number): Uint8Array {
  const [only] = pieces as [Uint8Array];
  if (pieces.length === 1 && isAligned(only, alignment)) return only;
  const copy = alignedBytes(lengthOfAll(pieces), alignment);
  eachPart(copy, pieces, (part, piece) => part.set(piece));
  return copy;
}

function afterwards(answer: MaybePromise<void>, then: () => void): MaybePromise<void> {
  const later: unknown = answer;
  return isLater(later) ? Promise.resolve(later).then(then) : then();
}
