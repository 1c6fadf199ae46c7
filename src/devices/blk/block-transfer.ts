// virtio-blk: moves the data of a request between guest memory and a store, however the driver split it.
import { isLater, type MaybePromise, settleAll } from '../../virtio/maybe-promise.ts';
import type { Segments } from '../../virtio/segments.ts';
import type { BlockStore } from './block-store.ts';
import { SECTOR_BYTES } from './spec.ts';

/**
 * Chooses how to pass data in several pieces to the store: `readv` or `writev`, a call a piece, or one call with a
 * copy.
 */
export class BlockTransfer {
  readonly #store: BlockStore;
  /** Whether the store has returned a promise for a piece: a promise for each piece would be slow. */
  #isAsync = false;

  constructor(store: BlockStore) {
    this.#store = store;
  }

  /**
   * Moves bytes [from, to) of `data`, whole blocks, from or to `offset` of the store. The store gets whole blocks (of
   * its `alignment`), each once. Once it returns, or its promise settles, nothing touches guest memory any more.
   */
  move(
    data: Segments,
    from: number,
    to: number,
    offset: number,
    isRead: boolean,
    signal: AbortSignal,
  ): MaybePromise<void> {
    if (from === to) return;
    const whole = data.single(from, to);
    if (whole !== undefined) return this.#moveOne(offset, whole, isRead, signal);
    if (isRead && this.#store.readv) return this.#store.readv(offset, data.range(from, to), signal);
    if (!isRead && this.#store.writev) return this.#store.writev(offset, data.range(from, to), signal);
    if (this.#isAsync || data.isCut(from, to, this.#store.alignment ?? SECTOR_BYTES))
      return this.#moveGathered(offset, data.range(from, to), to - from, isRead, signal);
    return this.#moveEach(data, from, to, offset, isRead, signal);
  }

  #moveOne(offset: number, bytes: Uint8Array, isRead: boolean, signal: AbortSignal): MaybePromise<void> {
    return isRead ? this.#store.read(offset, bytes, signal) : this.#store.write?.(offset, bytes, signal);
  }

  /** Makes one call for each piece. */
  #moveEach(
    data: Segments,
    from: number,
    to: number,
    offset: number,
    isRead: boolean,
    signal: AbortSignal,
  ): MaybePromise<void> {
    let pending: PromiseLike<void>[] | undefined;
    try {
      for (let at = from; at < to; ) {
        const piece = data.piece(at, to);
        const answer = this.#moveOne(offset + at - from, piece, isRead, signal);
        if (isLater(answer)) {
          pending ??= [];
          pending.push(answer);
        }
        at += piece.length;
      }
    } catch (error) {
      if (pending === undefined) throw error;
      pending.push(Promise.reject(error));
    }
    if (pending === undefined) return;
    this.#isAsync = true;
    return settleAll(pending);
  }

  /** Makes one call, with a copy of the data. */
  #moveGathered(
    offset: number,
    pieces: readonly Uint8Array[],
    length: number,
    isRead: boolean,
    signal: AbortSignal,
  ): MaybePromise<void> {
    const gathered = new Uint8Array(length);
    const each = (move: (piece: Uint8Array, ours: Uint8Array) => void): void => {
      let at = 0;
      for (const piece of pieces) {
        move(piece, gathered.subarray(at, at + piece.length));
        at += piece.length;
      }
    };
    if (!isRead) each((piece, ours) => ours.set(piece));
    const answer = this.#moveOne(offset, gathered, isRead, signal);
    if (!isRead) return answer;
    const scatter = (): void => each((piece, ours) => piece.set(ours));
    return isLater(answer) ? Promise.resolve(answer).then(scatter) : scatter();
  }
}
