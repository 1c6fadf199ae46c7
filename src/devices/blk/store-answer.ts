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

/** What a store threw, in words. It may have thrown anything. */
export function causeOf(thrown: unknown): string {
  try {
    if (!(thrown instanceof Error)) return String(thrown);
    const { cause, message } = thrown;
    // `fetch failed` says nothing; its cause does.
    return cause instanceof Error && !message.includes(cause.message) ? `${message} (${cause.message})` : `${message}`;
  } catch {
    return 'an error that cannot be shown';
  }
}
