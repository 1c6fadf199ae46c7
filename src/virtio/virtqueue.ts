// Cellar: what a device sees of a virtqueue, whatever its ring format and whoever notifies whom.
import type { DescriptorChain } from './descriptor-chain.ts';

export interface Virtqueue {
  /**
   * Serves what the driver made available: suppresses notifications, pops, serves, publishes, rearms, looks again.
   * Bounded: when it gives `DRAIN_MAX` or more, call it again after others had their turn.
   * @returns requests popped. Throws DriverError: the queue is then broken and serves no more.
   */
  drain(serve: (chain: DescriptorChain, queue: Virtqueue) => void): number;
  /** Gives a request back, now or later, having written `usedLength` bytes; the driver sees it with the next `publish`. */
  markUsed(chain: DescriptorChain, usedLength: number): void;
  /** Shows the driver what was marked used, and notifies it if it asked for that. `drain` does this for its own batch. */
  publish(): void;
}

/** Requests one `drain` serves before it lets others go first. */
export const DRAIN_MAX = 256;
