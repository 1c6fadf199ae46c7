// Cellar: what code behind a device answers with: a value now, which costs no promise, or a promise of it.

/** A value, or a promise of it: what answers at once costs no promise, what cannot is simply `async`. */
export type MaybePromise<T> = T | Promise<T>;

/** Whether an answer comes later. What is no promise (the number of `readSync`, the array of `fill`) is an answer. */
export function isLater(answer: unknown): answer is PromiseLike<void> {
  return typeof (answer as PromiseLike<void> | undefined)?.then === 'function';
}

/** `value`, when `answer` is there. */
export function whenDone<T>(answer: MaybePromise<void>, value: T): MaybePromise<T> {
  return isLater(answer) ? Promise.resolve(answer).then(() => value) : value;
}

/** Waits for all, so that nothing touches guest memory any more, then fails if one did. */
export async function settleAll(answers: readonly PromiseLike<void>[]): Promise<void> {
  const failure = (await Promise.allSettled(answers)).find((result) => result.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}

/** What was thrown, in words. It may be anything. */
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
