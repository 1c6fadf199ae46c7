// stores/filters: requests in several pieces, for a filter that has to see them as one, over a store that takes pieces
// one by one.
import type { BlockStore, MaybePromise } from '../../devices/blk/block-store.ts';
import { isLater } from './forward.ts';

const SECTOR_BYTES = 512;

/** The sum of the lengths of all pieces. */
export function lengthOfAll(pieces: readonly Uint8Array[]): number {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
}

/** Returns the `readv` of a store, or one that calls its `read`. */
export function readPieces(store: BlockStore): NonNullable<BlockStore['readv']> {
  if (store.readv) return store.readv.bind(store);
  return (offset, into, signal) => {
    if (isWhole(store, into)) return moveEach(offset, into, (at, piece) => store.read(at, piece, signal));
    const whole = new Uint8Array(lengthOfAll(into));
    const scatter = (): void => eachPart(whole, into, (part, piece) => piece.set(part));
    const answer: unknown = store.read(offset, whole, signal);
    return isLater(answer) ? Promise.resolve(answer).then(scatter) : scatter();
  };
}

/** Returns the `writev` of a store, or one that calls its `write`; undefined for a read-only store. */
export function writePieces(store: BlockStore): BlockStore['writev'] {
  if (store.writev) return store.writev.bind(store);
  const write = store.write?.bind(store);
  if (write === undefined) return undefined;
  return (offset, from, signal) => {
    if (isWhole(store, from)) return moveEach(offset, from, (at, piece) => write(at, piece, signal));
    const whole = new Uint8Array(lengthOfAll(from));
    eachPart(whole, from, (part, piece) => part.set(piece));
    return write(offset, whole, signal);
  };
}

/** Whether each piece is a request that the store takes. */
function isWhole({ alignment = SECTOR_BYTES }: BlockStore, pieces: readonly Uint8Array[]): boolean {
  return pieces.every(({ length }) => length % alignment === 0);
}

/** Calls `copy` with each piece and the part of `whole` that belongs to it. */
export function eachPart(
  whole: Uint8Array,
  pieces: readonly Uint8Array[],
  copy: (part: Uint8Array, piece: Uint8Array) => void,
): void {
  let at = 0;
  for (const piece of pieces) {
    copy(whole.subarray(at, at + piece.length), piece);
    at += piece.length;
  }
}

/** Makes a call for each piece. If one fails, it waits for the others, which may still use guest memory. */
function moveEach(
  offset: number,
  pieces: readonly Uint8Array[],
  move: (at: number, piece: Uint8Array) => MaybePromise<void>,
): MaybePromise<void> {
  const pending: PromiseLike<unknown>[] = [];
  let at = offset;
  try {
    for (const piece of pieces) {
      const answer: unknown = move(at, piece);
      if (isLater(answer)) pending.push(answer);
      at += piece.length;
    }
  } catch (error) {
    if (pending.length === 0) throw error;
    pending.push(Promise.reject(error));
  }
  if (pending.length > 0) return settled(pending);
}

async function settled(pending: readonly PromiseLike<unknown>[]): Promise<void> {
  const failure = (await Promise.allSettled(pending)).find(({ status }) => status === 'rejected');
  if (failure !== undefined) throw (failure as PromiseRejectedResult).reason;
}
