// stores: the end of an operation that is reported by a call. A promise costs several steps of the event loop, this none.

import type { Completion, CompletionListener } from '../devices/blk/block-store.ts';

/**
 * An operation of a store that completes by a call of `finish`. A virtio-blk device listens to it, and finishes the
 * request within that call; a filter awaits it like a promise.
 *
 * @example
 * read(offset, into) {
 *   const completion = new StoreCompletion();
 *   library.read(offset, into, (error) => completion.finish(error));
 *   return completion;
 * }
 */
export class StoreCompletion implements Completion {
  #listener: CompletionListener | undefined;
  #outcome: { readonly error: Error | undefined } | undefined;
  /** Made by the first `then`. */
  #promise: Promise<undefined> | undefined;

  /** Ends the operation. Call it once; without `error` it succeeded. */
  finish(error?: Error): void {
    if (this.#listener !== undefined) return this.#listener.completed(error);
    this.#outcome = { error };
  }

  listen(listener: CompletionListener): void {
    if (this.#listener !== undefined) throw new Error('somebody else waits for this completion');
    this.#listener = listener;
    if (this.#outcome !== undefined) listener.completed(this.#outcome.error);
  }

  /** Whether `finish` leaves no promise to settle: somebody listens. An `await` calls `then` only some steps later. */
  get isListenedTo(): boolean {
    return this.#listener !== undefined && this.#promise === undefined;
  }

  // biome-ignore lint/suspicious/noThenProperty: a filter that awaits what a store returns need not know of this class
  then<Fulfilled = undefined, Rejected = never>(
    fulfilled?: ((value: undefined) => Fulfilled | PromiseLike<Fulfilled>) | null,
    rejected?: ((reason: unknown) => Rejected | PromiseLike<Rejected>) | null,
  ): Promise<Fulfilled | Rejected> {
    this.#promise ??= new Promise((resolve, reject) =>
      this.listen({ completed: (error) => (error === undefined ? resolve(undefined) : reject(error)) }),
    );
    return this.#promise.then(fulfilled, rejected);
  }
}
