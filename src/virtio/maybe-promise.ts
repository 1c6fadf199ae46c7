// virtio: results that are synchronous, which costs no promise, or a promise.

/** A value, or a promise of it: a synchronous function costs no promise, an `async` one is accepted too. */
export type MaybePromise<T> = T | PromiseLike<T>;

/** Whether a result is a promise. Any other value (the number of `readSync`, the array of `fill`) means "done". */
export function isLater(answer: unknown): answer is PromiseLike<void> {
  return typeof (answer as PromiseLike<void> | undefined)?.then === 'function';
}

/** Returns `value`, or a promise of it that is fulfilled after `answer`. */
export function whenDone<T>(answer: MaybePromise<void>, value: T): MaybePromise<T> {
  return isLater(answer) ? Promise.resolve(answer).then(() => value) : value;
}

/** Waits until all promises have settled, so that nothing touches guest memory any more; then rejects if one did. */
export async function settleAll(answers: readonly PromiseLike<void>[]): Promise<void> {
  const failure = (await Promise.allSettled(answers)).find((result) => result.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}

/** Returns the message of a thrown value, which need not be an Error. */
export function causeOf(thrown: unknown): string {
  try {
    if (!(thrown instanceof Error)) return String(thrown);
    const { cause, message } = thrown;
    // The message `fetch failed` needs that of its cause.
    return cause instanceof Error && !message.includes(cause.message) ? `${message} (${cause.message})` : `${message}`;
  } catch {
    return 'an error that cannot be shown';
  }
}
