// virtio: loads the requests of a split ring's available ring into reused descriptor chains.
import { DescriptorChain } from '../descriptor-chain.ts';
import { DriverError } from '../errors.ts';
import type { GuestMemory } from '../guest-memory.ts';
import type { PoppedRequest } from '../ring-format.ts';
import { VIRTIO_F_INDIRECT_DESC } from '../spec.ts';
import type { SplitRing } from './split-ring.ts';

/** Chains kept for reuse. A chain that grew beyond so many pieces is not kept. */
const SPARE_MAX = 128;
const SPARE_PIECES_MAX = 256;
const NOT_IN_FLIGHT = -1;

/** The requests that the driver has made available in a split ring. */
export class AvailableRequests {
  readonly #ring: SplitRing;
  readonly #memory: GuestMemory;
  readonly #indirect: boolean;
  /** By head: when its request was popped, in ms of `performance.now()`; NOT_IN_FLIGHT: it is not in flight. */
  readonly #poppedAtMs: Float64Array;
  readonly #spare: DescriptorChain[] = [];
  /** Heads that replace those in the available ring, and the available index of the first one. */
  #left: readonly number[] = [];
  #leftAt = 0;

  constructor(ring: SplitRing, memory: GuestMemory, features: bigint) {
    this.#ring = ring;
    this.#memory = memory;
    this.#indirect = (features & VIRTIO_F_INDIRECT_DESC) !== 0n;
    this.#poppedAtMs = new Float64Array(ring.size).fill(NOT_IN_FLIGHT);
  }

  /**
   * From available index `index` on, `heads` are loaded instead of what the ring has there: requests that another
   * process popped and did not finish. The ring has them there too where requests are finished in order; otherwise it
   * has others, which are finished.
   */
  replace(index: number, heads: readonly number[]): void {
    this.#leftAt = index;
    this.#left = heads;
  }

  #headAt(index: number): number {
    if (this.#left.length === 0) return this.#ring.availableHead(index);
    const at = (index - this.#leftAt) & 0xffff;
    // A buffer may be put back and loaded again, so they are kept until the ring is far beyond them.
    if (at > this.#left.length + this.#ring.size) this.#left = [];
    return this.#left[at] ?? this.#ring.availableHead(index);
  }

  /** Loads the request at an available index. Throws DriverError. */
  load(index: number, nowMs: number): DescriptorChain {
    const head = this.#headAt(index);
    if ((this.#poppedAtMs[head] ?? NOT_IN_FLIGHT) >= 0)
      throw new DriverError('§2.7.13', `descriptor ${head} is in use by another request`);
    const chain = this.#spare.pop() ?? new DescriptorChain();
    chain.load(head, this.#ring.table, this.#ring.size, this.#memory, this.#indirect);
    chain.poppedAtMs = nowMs;
    this.#poppedAtMs[head] = nowMs;
    return chain;
  }

  /** Frees a chain whose request was completed or put back into the ring. */
  release(chain: DescriptorChain): void {
    this.#poppedAtMs[chain.head] = NOT_IN_FLIGHT;
    const pieces = chain.readable.capacity + chain.writable.capacity;
    if (this.#spare.length < SPARE_MAX && pieces <= SPARE_PIECES_MAX) this.#spare.push(chain);
  }

  /** The requests in flight that were popped first, the oldest first, at most `most` of them. */
  oldest(most: number, nowMs: number): PoppedRequest[] {
    const all: PoppedRequest[] = [];
    this.#poppedAtMs.forEach((poppedAtMs, head) => {
      if (poppedAtMs >= 0) all.push({ head, ageMs: Math.max(0, nowMs - poppedAtMs) });
    });
    return all.sort((a, b) => b.ageMs - a.ageMs).slice(0, most);
  }
}
