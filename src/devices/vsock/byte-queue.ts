// virtio-vsock: bytes of one connection that its endpoint has not taken: a ring that grows up to a limit.

const BYTES_MIN = 4096;

/** A first-in first-out queue of bytes. Small pieces cost no more than their bytes. */
export class ByteQueue {
  #bytes = new Uint8Array(0);
  #start = 0;
  /** How many bytes wait. */
  length = 0;

  /** Appends a copy. The caller keeps to its limit. */
  push(bytes: Uint8Array): void {
    this.#grow(this.length + bytes.length);
    const size = this.#bytes.length;
    if (size === 0) return;
    const end = (this.#start + this.length) % size;
    const first = Math.min(bytes.length, size - end);
    this.#bytes.set(bytes.subarray(0, first), end);
    this.#bytes.set(bytes.subarray(first), 0);
    this.length += bytes.length;
  }

  #grow(wanted: number): void {
    if (wanted <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(BYTES_MIN, 2 ** Math.ceil(Math.log2(wanted))));
    this.copyTo(grown.subarray(0, this.length));
    this.#bytes = grown;
    this.#start = 0;
  }

  /** The oldest bytes that are in one piece, `most` of them at most, valid until the next call. */
  front(most = this.length): Uint8Array {
    return this.#bytes.subarray(
      this.#start,
      this.#start + Math.min(most, this.length, this.#bytes.length - this.#start),
    );
  }

  /** Copies the oldest bytes, from byte `from` on, without removing them. There must be as many. */
  copyTo(into: Uint8Array, from = 0): void {
    if (into.length === 0) return;
    const start = (this.#start + from) % this.#bytes.length;
    const first = Math.min(into.length, this.#bytes.length - start);
    into.set(this.#bytes.subarray(start, start + first));
    into.set(this.#bytes.subarray(0, into.length - first), first);
  }

  /** Removes the oldest `count` bytes. The memory is freed with the last of them. */
  drop(count: number): void {
    // An endpoint may have ended the connection while it was given these bytes: there are none any more.
    this.length = Math.max(0, this.length - count);
    if (this.length > 0) this.#start = (this.#start + count) % this.#bytes.length;
    else if (this.#bytes.length > BYTES_MIN) this.clear();
    else this.#start = 0;
  }

  /** Removes everything. */
  clear(): void {
    this.#bytes = new Uint8Array(0);
    this.#start = this.length = 0;
  }
}
