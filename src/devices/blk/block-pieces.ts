// First floor: a request that the driver cut in pieces, moved by a store that takes one piece at a time.
import type { Segments } from '../../virtio/segments.ts';
import type { BlockStore, MaybePromise } from './block-store.ts';
import { SECTOR_BYTES } from './spec.ts';
import { isLater, settleAll } from './store-answer.ts';

/** Moves one stretch of memory. */
export function move(store: BlockStore, offset: number, bytes: Uint8Array, isRead: boolean): MaybePromise<void> {
  return isRead ? store.read(offset, bytes) : store.write?.(offset, bytes);
}

/**
 * Moves all of `data` to or from `offset` on, and uses it up. The store sees whole sectors: one that the driver cut
 * goes through memory of ours. Settled when every promise of the store is: nothing touches guest memory afterwards.
 */
export function movePieces(store: BlockStore, offset: number, data: Segments, isRead: boolean): MaybePromise<void> {
  let pending: PromiseLike<void>[] | undefined;
  try {
    for (let at = offset; data.totalBytes > 0; ) {
      const piece = data.view(0);
      const whole = piece.length - (piece.length % SECTOR_BYTES);
      const answer =
        whole === 0
          ? moveSector(store, at, data, isRead)
          : move(store, at, whole === piece.length ? piece : piece.subarray(0, whole), isRead);
      if (isLater(answer)) {
        pending ??= [];
        pending.push(answer);
      }
      const moved = whole || SECTOR_BYTES;
      data.dropFront(moved);
      at += moved;
    }
  } catch (error) {
    if (pending === undefined) throw error;
    pending.push(Promise.reject(error));
  }
  return pending && settleAll(pending);
}

/** Moves the first sector of `data`, which lies in several pieces. */
function moveSector(store: BlockStore, offset: number, data: Segments, isRead: boolean): MaybePromise<void> {
  const sector = new Uint8Array(SECTOR_BYTES);
  // Each piece of guest memory with the stretch of `sector` it belongs to.
  const parts: { guest: Uint8Array; ours: Uint8Array }[] = [];
  for (let i = 0, at = 0; at < SECTOR_BYTES; i++) {
    const guest = data.view(i).subarray(0, SECTOR_BYTES - at);
    parts.push({ guest, ours: sector.subarray(at, at + guest.length) });
    at += guest.length;
  }
  if (!isRead) for (const { guest, ours } of parts) ours.set(guest);
  const answer = move(store, offset, sector, isRead);
  if (!isRead) return answer;
  const scatter = (): void => {
    for (const { guest, ours } of parts) guest.set(ours);
  };
  return isLater(answer) ? Promise.resolve(answer).then(scatter) : scatter();
}
