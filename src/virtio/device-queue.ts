// Cellar: a virtqueue as its device sees it, whatever the ring format and whatever transport notifies whom.
import type { DescriptorChain } from './descriptor-chain.ts';

/** Serves one request, now or later: `markUsed` gives it back. */
export type ServeChain = (chain: DescriptorChain, queue: DeviceQueue) => void;

/** Called with the first `count` chains of a batch before they are served: the moment to bring near what they will need. */
export type ExpectBatch = (batch: readonly DescriptorChain[], count: number) => void;

/**
 * The device's side of one virtqueue. Request-and-response devices call `drain` in `process` and `markUsed` when a request is done;
 * devices that fill buffers when they have something to say (receive queues) `take` one at a time.
 */
export interface DeviceQueue {
  /**
   * Serves what the driver made available: suppresses notifications, pops, serves, publishes, asks for notifications again, looks again.
   * Bounded in requests, bytes and time; where it ends early `process` is called again after others had their turn.
   */
  drain(serve: ServeChain, expect?: ExpectBatch): void;
  /**
   * Takes the next buffer of the driver. Returns undefined when there is none; `process` is called when one comes. A driver can fill the
   * ring as fast as it is emptied: a loop over `take` ends after so many, and asks for another turn with `again`.
   */
  take(): DescriptorChain | undefined;
  /** Puts a buffer back that was taken and not used: the latest first, before the queue stops. */
  untake(chain: DescriptorChain): void;
  /**
   * Gives a buffer back to the driver, now or later, having written `written` bytes from its first writable one on; the driver sees it
   * with the next `publish`. Everything that counts as written to guest memory passes here.
   */
  markUsed(chain: DescriptorChain, written: number): void;
  /** Shows the driver what was marked used, and notifies it if it asked for that. `drain` does this for its own batch. */
  publish(): void;
  /** Asks for another call of `process`, after others had their turn. `drain` does this by itself. */
  again(): void;
  /** The same for every request of this run of the queue: aborted when the queue has to stop and its requests took too long. */
  readonly signal: AbortSignal;
}
