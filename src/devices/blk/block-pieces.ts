// First floor: a request that the driver cut in pieces, moved by a store that takes one piece at a time.
import type { Segments } from '../../virtio/segments.ts';
import type { MaybePromise } from './block-store.ts';
import { SECTOR_BYTES } from './spec.ts';
import { isLater, settleAll } from './store-answer.ts';

export type Transfer = (offset: number, bytes: Uint8Array) => MaybePromise<void>;

/**
 * Moves all of `data` to or from `offset` on, and uses it up. The store sees whole sectors: one that the driver cut goes
 * through memory of ours. Settled when every promise of the store is, so that nothing touches guest memory afterwards.
 */
export function movePieces(data: Segments, offset: number, move: Transfer, isRead: boolean): MaybePromise<void> {
  const pending: PromiseLike<void>[] = [];
  try {
    for (let at = offset; data.totalBytes > 0; ) {
      const piece = data.view(0);
      const whole = piece.length - (piece.length % SECTOR_BYTES);
      const answer =
        whole === 0
          ? moveSector(data, at, move, isRead)
          : move(at, whole === piece.length ? piece : piece.subarray(0, whole));
      if (isLater(answer)) pending.push(answer);
      const moved = whole || SECTOR_BYTES;
      data.dropFront(moved);
      at += moved;
    }
  } catch (error) {
    if (pending.length === 0) throw error;
    pending.push(Promise.reject(error));
  }
  return pending.length === 0 ? undefined : settleAll(pending);
}

/** Moves the first sector of `data`, which lies in several pieces. */
function moveSector(data: Segments, offset: number, move: Transfer, isRead: boolean): MaybePromise<void> {
  const sector = new Uint8Array(SECTOR_BYTES);
  // Each piece of guest memory with the stretch of `sector` it belongs to.
  const parts: { guest: Uint8Array; ours: Uint8Array }[] = [];
  for (let i = 0, at = 0; at < SECTOR_BYTES; i++) {
    const guest = data.view(i).subarray(0, SECTOR_BYTES - at);
    parts.push({ guest, ours: sector.subarray(at, at + guest.length) });
    at += guest.length;
  }
  if (!isRead) for (const { guest, ours } of parts) ours.set(guest);
  const answer = move(offset, sector);
  if (!isRead) return answer;
  const scatter = (): void => {
    for (const { guest, ours } of parts) guest.set(ours);
  };
  return isLater(answer) ? Promise.resolve(answer).then(scatter) : scatter();
}
