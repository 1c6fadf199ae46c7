// virtio: the limit of requests in flight of a device, over all its queues on a thread. More wait in the ring.

/** Requests, and bytes of their data, that may be in flight. */
export interface InFlightBounds {
  readonly requests: number;
  readonly bytes: number;
}

/** Each request in flight costs memory: its chain, its promise, what the device keeps of it. */
export const IN_FLIGHT_DEFAULT: InFlightBounds = { requests: 1024, bytes: 64 * 2 ** 20 };

/** Counts what is in flight, and calls the queues that wait for room. */
export class InFlightLimit {
  readonly #bounds: InFlightBounds;
  #requests = 0;
  #bytes = 0;
  /** What to call when there is room again. */
  readonly #waiting = new Set<() => void>();

  constructor(bounds: InFlightBounds = IN_FLIGHT_DEFAULT) {
    this.#bounds = bounds;
  }

  /** Requests that may be popped now. Where nothing is in flight one is allowed, however large it is. */
  get room(): number {
    return this.#bytes >= this.#bounds.bytes ? 0 : Math.max(0, this.#bounds.requests - this.#requests);
  }

  /** Bytes that may be popped now. */
  get roomBytes(): number {
    return Math.max(0, this.#bounds.bytes - this.#bytes);
  }

  get isReached(): boolean {
    return this.room === 0;
  }

  /** Counts what was popped (negative: returned). Calls the callbacks of `whenRoom` if there is room again. */
  change(requests: number, bytes: number): void {
    const wasReached = this.isReached;
    this.#requests += requests;
    this.#bytes += bytes;
    if (!wasReached || this.isReached) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const hasRoom of waiting) hasRoom();
  }

  /** Calls `hasRoom` once, when there is room again. */
  whenRoom(hasRoom: () => void): void {
    this.#waiting.add(hasRoom);
  }
}
