// Cellar: how much a device may have taken and not given back, over all its queues on a thread. What lies beyond waits in the ring.

export interface InFlightBounds {
  readonly requests: number;
  readonly bytes: number;
}

/** A request that waits costs memory: its chain, its promise, what the device keeps of it. */
export const IN_FLIGHT_DEFAULT: InFlightBounds = { requests: 1024, bytes: 64 * 2 ** 20 };

export class InFlightLimit {
  readonly #bounds: InFlightBounds;
  #requests = 0;
  #bytes = 0;
  /** What to call when there is room again. */
  readonly #waiting = new Set<() => void>();

  constructor(bounds: InFlightBounds = IN_FLIGHT_DEFAULT) {
    this.#bounds = bounds;
  }

  /** Requests that may be taken now. One is allowed where nothing is in flight, however large it is. */
  get room(): number {
    return this.#bytes >= this.#bounds.bytes ? 0 : Math.max(0, this.#bounds.requests - this.#requests);
  }

  /** Bytes that may be taken now. */
  get roomBytes(): number {
    return Math.max(0, this.#bounds.bytes - this.#bytes);
  }

  get isReached(): boolean {
    return this.room === 0;
  }

  /** Counts what was taken, or, negative, given back; then those that wait for room are called. */
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
