// First floor: what a store's answer means for a request: a status now, or a promise of one.
import type { MaybePromise } from './block-store.ts';
import { VIRTIO_BLK_S_OK } from './spec.ts';

/** Whether a store answers later. What is no promise (the number of `readSync`, the array of `fill`) is an answer. */
export function isLater(answer: unknown): answer is PromiseLike<void> {
  return typeof (answer as PromiseLike<void> | undefined)?.then === 'function';
}

/** The status of a request whose store answered so. */
export function settle(answer: MaybePromise<void>): MaybePromise<number> {
  return isLater(answer) ? Promise.resolve(answer).then(() => VIRTIO_BLK_S_OK) : VIRTIO_BLK_S_OK;
}

/** Waits for all, so that nothing touches guest memory any more, then fails if one did. */
export async function settleAll(answers: readonly PromiseLike<void>[]): Promise<void> {
  const failure = (await Promise.allSettled(answers)).find((result) => result.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}

/** Serves `items` one after the other, and stops at the first that fails. */
export function inTurn<T>(items: readonly T[], serve: (item: T) => MaybePromise<void>, from = 0): MaybePromise<void> {
  for (let i = from; i < items.length; i++) {
    const answer = serve(items[i] as T);
    if (isLater(answer)) return Promise.resolve(answer).then(() => inTurn(items, serve, i + 1));
  }
}

/** What a store threw, in words. */
export function causeOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
