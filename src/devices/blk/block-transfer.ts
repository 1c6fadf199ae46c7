// First floor: moves the data of a request between guest memory and a store, however the driver cut it up.
import { isLater, type MaybePromise, settleAll } from '../../virtio/maybe-promise.ts';
import type { Segments } from '../../virtio/segments.ts';
import type { BlockStore } from './block-store.ts';
import { SECTOR_BYTES } from './spec.ts';

export class BlockTransfer {
  readonly #store: BlockStore;
  /** Learned from its first answer: a promise a piece would be dear. */
  #answersLater = false;

  constructor(store: BlockStore) {
    this.#store = store;
  }

  /**
   * Moves bytes [from, to) of `data`, whole sectors, from or to `offset` on. The store sees whole sectors, each once. When the answer
   * is there nothing touches guest memory any more.
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
    if (this.#answersLater || data.isCut(from, to, SECTOR_BYTES))
      return this.#moveGathered(offset, data.range(from, to), to - from, isRead, signal);
    return this.#moveEach(data, from, to, offset, isRead, signal);
  }

  #moveOne(offset: number, bytes: Uint8Array, isRead: boolean, signal: AbortSignal): MaybePromise<void> {
    return isRead ? this.#store.read(offset, bytes, signal) : this.#store.write?.(offset, bytes, signal);
  }

  /** A call a piece. */
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
    this.#answersLater = true;
    return settleAll(pending);
  }

  /** One call, through memory of this request's own. */
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
