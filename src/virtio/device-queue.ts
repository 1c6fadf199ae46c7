// virtio: the device's interface of a virtqueue, the same for every ring format and transport.
import type { DescriptorChain } from './descriptor-chain.ts';

/** Serves one request, now or later; `markUsed` returns it to the driver. */
export type ServeChain = (chain: DescriptorChain, queue: DeviceQueue) => void;

/**
 * Called with the first `count` chains of a batch before they are served, so that the device can prefetch what they
 * need.
 */
export type ExpectBatch = (batch: readonly DescriptorChain[], count: number) => void;

/**
 * The device's side of one virtqueue. Request-and-response devices call `drain` in `process` and `markUsed` when a
 * request is done; devices that fill buffers when they have data (receive queues) `take` one at a time.
 */
export interface DeviceQueue {
  /**
   * The place in the ring, 0 to 65535, of the next buffer that is taken. A driver begins at 0: another place in
   * `queueStarted` means that the ring was in use before.
   */
  readonly base: number;
  /**
   * Serves what the driver made available: suppresses notifications, pops, serves, publishes, rearms, and checks the
   * ring once more. Bounded in requests, bytes and time. Where it ends early, `process` is called again after other
   * queues had their turn.
   */
  drain(serve: ServeChain, expect?: ExpectBatch): void;
  /**
   * Takes the next buffer of the driver. Returns undefined when there is none; `process` is called when there is one. A
   * driver can fill the ring as fast as it is emptied, so a loop over `take` needs a bound: at it, call `again` and
   * return.
   */
  take(): DescriptorChain | undefined;
  /**
   * Puts the buffer that was taken last back into the ring, unused, before the queue stops. Throws Error for another
   * buffer.
   */
  untake(chain: DescriptorChain): void;
  /**
   * Returns a buffer to the driver, now or later. `written` is how many bytes the device wrote, from the first writable
   * one on. The driver sees the buffer with the next `publish`.
   */
  markUsed(chain: DescriptorChain, written: number): void;
  /** Whether its requests in flight are recorded for the process after this one, which can then serve what is left. */
  readonly isRecorded: boolean;
  /**
   * Leaves a request that `drain` popped to the process after this one: it stays in flight, the driver gets no answer
   * now, and the queue may stop. Throws Error where requests are not recorded.
   */
  leave(chain: DescriptorChain): void;
  /** Shows the driver the used buffers, and notifies it if it wants that. `drain` does this for its own batches. */
  publish(): void;
  /** Schedules another call of `process`, after other queues had their turn. `drain` does this by itself. */
  again(): void;
  /**
   * Aborted when the queue has to stop and its requests take too long. One signal for all requests between start and
   * stop.
   */
  readonly signal: AbortSignal;
}
