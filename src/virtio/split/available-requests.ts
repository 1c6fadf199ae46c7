// Cellar: the requests popped together, and the chains they are loaded into again and again: in steady state none is allocated.
import { DescriptorChain } from '../descriptor-chain.ts';
import { BATCH_MAX } from '../device-queue.ts';
import { DriverError } from '../errors.ts';
import type { GuestMemory } from '../guest-memory.ts';
import { VIRTIO_F_INDIRECT_DESC } from '../spec.ts';
import type { SplitRing } from './split-ring.ts';

export class ChainBatch {
  /** As many of these as `fill` said. */
  readonly chains: DescriptorChain[] = [];
  /** What the driver did wrong, if a batch ended early because of it: what came before is to be served first. */
  accusation: DriverError | undefined;
  readonly #ring: SplitRing;
  readonly #memory: GuestMemory;
  readonly #indirect: boolean;
  readonly #free: DescriptorChain[] = [];

  constructor(ring: SplitRing, memory: GuestMemory, features: bigint) {
    this.#ring = ring;
    this.#memory = memory;
    this.#indirect = (features & VIRTIO_F_INDIRECT_DESC) !== 0n;
  }

  /** Pops up to BATCH_MAX of the `available` requests from available index `from` on; gives how many it was. */
  fill(from: number, available: number, inFlight: number, nowMs: number): number {
    const { size, table } = this.#ring;
    const wanted = Math.min(available, BATCH_MAX);
    let count = 0;
    try {
      const outstanding = available + inFlight;
      if (outstanding > size) throw new DriverError('§2.7.13', `${outstanding} requests on a queue of ${size}`);
      for (; count < wanted; count++) {
        const chain = this.#free.pop() ?? new DescriptorChain();
        chain.load(this.#ring.availableHead(from + count), table, size, this.#memory, this.#indirect);
        chain.poppedAtMs = nowMs;
        this.chains[count] = chain;
      }
    } catch (error) {
      this.accusation = error as DriverError;
    }
    return count;
  }

  /** Takes a chain back that nobody uses any more. */
  recycle(chain: DescriptorChain): void {
    this.#free.push(chain);
  }
}
