// testing: the interface of a driver of one device over any transport, step by step, so that a test can do each
// step wrong.
import type { RingAreas } from '../virtio/ring-format.ts';

/** A driver of one device over any transport, step by step as in §3.1.1, so that a test can do each step wrong. */
export interface TransportDriver extends AsyncDisposable {
  /** The lines that the device side logged. */
  readonly lines: readonly string[];
  /** §3.1.1, steps 1 to 4: returns the features that the device offers. */
  offered(): Promise<bigint>;
  /** Steps 5 and 6: accepts features. Returns false when the device refuses. */
  accept(features: bigint): Promise<boolean>;
  /** The largest size of a queue; 0 when there is none. */
  queueSizeMax(index: number): Promise<number>;
  /** Step 7: sets a queue up. Returns false when the device refuses. */
  setUp(index: number, size: number, addresses: RingAreas): Promise<boolean>;
  /** Step 8: sets DRIVER_OK; queues run from then on. */
  start(): Promise<void>;
  /** Writes to the doorbell of a queue, which need not exist. */
  kick(index: number): void;
  /**
   * Whether a used buffer notification came since the last call. With one interrupt for all queues, it may be another
   * queue's.
   */
  tookUsedInterrupt(index: number): boolean;
  /** Whether a configuration change notification came since the last call. */
  tookConfigInterrupt(): boolean;
  /** Reads a field of the configuration space, little-endian. */
  readConfig(offset: number, sizeBytes: 1 | 2 | 4): Promise<number>;
  /** Writes a field of the configuration space, little-endian. */
  writeConfig(offset: number, sizeBytes: 1 | 2 | 4, value: number): Promise<void>;
  /** Whether the device reported that this queue is broken until a reset. */
  isBroken(index: number): Promise<boolean>;
  /** Resets the device. Resolves when it no longer touches memory. */
  reset(): Promise<void>;
}
