// bench/threads: a shared word that tells a thread to end its job; whoever sets it wakes the thread by other means.

export class StopWord {
  /** What another thread passes to the constructor to share the word. */
  readonly shared: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(shared = new SharedArrayBuffer(4)) {
    this.shared = shared;
    this.#word = new Int32Array(shared);
  }

  get isSet(): boolean {
    return Atomics.load(this.#word, 0) !== 0;
  }

  set(stop: boolean): void {
    Atomics.store(this.#word, 0, stop ? 1 : 0);
  }
}
