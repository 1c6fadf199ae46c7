// virtio-net: frames that wait for buffers of the guest: bounded in number, bytes and time.

/** The limits. A burst of a round trip fits; a guest that is stopped costs no more than this. */
export const BACKLOG_FRAMES_MAX = 256;
export const BACKLOG_BYTES_MAX = 1024 * 1024;
/** A frame that waited this long is of no use any more. */
export const BACKLOG_MS = 1000;

/** A copy of a frame with its header in front. */
interface Waiting {
  readonly packet: Uint8Array;
  readonly sinceMs: number;
}

/** A first-in first-out queue of copies of frames. */
export class FrameBacklog {
  readonly #waiting: Waiting[] = [];
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** The oldest frame with its header in front. */
  get first(): Uint8Array | undefined {
    return this.#waiting[0]?.packet;
  }

  /** Adds a copy. Returns false where there is no room. */
  add(header: Uint8Array, frame: Uint8Array): boolean {
    const length = header.length + frame.length;
    if (this.#waiting.length === BACKLOG_FRAMES_MAX || this.#bytes + length > BACKLOG_BYTES_MAX) return false;
    const packet = new Uint8Array(length);
    packet.set(header);
    packet.set(frame, header.length);
    this.#waiting.push({ packet, sinceMs: performance.now() });
    this.#bytes += length;
    return true;
  }

  /** Removes the oldest frame. */
  shift(): void {
    this.#bytes -= this.#waiting.shift()?.packet.length ?? 0;
  }

  /** Removes the frames that have waited for BACKLOG_MS, and returns how many. */
  expire(): number {
    const before = performance.now() - BACKLOG_MS;
    let count = 0;
    while (this.#waiting[count] !== undefined && (this.#waiting[count] as Waiting).sinceMs <= before) count++;
    for (let i = 0; i < count; i++) this.shift();
    return count;
  }

  /** Removes all frames, and returns how many. */
  clear(): number {
    this.#bytes = 0;
    return this.#waiting.splice(0).length;
  }
}
