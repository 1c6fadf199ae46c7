// Upper floor: a driver's way to one device, whatever the transport, step by step, so that a test can do each step wrong.
import type { RingAreas } from '../virtio/ring-format.ts';

/** A driver's way to one device, whatever the transport, step by step as in §3.1.1, so that a test can do each step wrong. */
export interface TransportDriver extends AsyncDisposable {
  /** Lines the device side said. */
  readonly lines: readonly string[];
  /** §3.1.1, steps 1 to 4: what the device offers. */
  offered(): Promise<bigint>;
  /** Steps 5 and 6. False when the device refuses. */
  accept(features: bigint): Promise<boolean>;
  /** The largest size of a queue; 0 when there is none. */
  queueSizeMax(index: number): Promise<number>;
  /** Step 7: describes a queue. False when the device does not take it. */
  setUp(index: number, size: number, addresses: RingAreas): Promise<boolean>;
  /** Step 8: from now on queues run. */
  start(): Promise<void>;
  /** Rings the doorbell of a queue, or of what is none. */
  kick(index: number): void;
  /** Whether a used buffer notification came since the last time. With one interrupt for all queues, it may have been for another. */
  tookUsedInterrupt(index: number): boolean;
  /** Whether a configuration change notification came since the last time. */
  tookConfigInterrupt(): boolean;
  /** Reads a field of the configuration space, little-endian. */
  readConfig(offset: number, sizeBytes: 1 | 2 | 4): Promise<number>;
  /** Writes a field of the configuration space, little-endian. */
  writeConfig(offset: number, sizeBytes: 1 | 2 | 4, value: number): Promise<void>;
  /** Whether the device said that something is wrong with this queue which only a reset will end. */
  isBroken(index: number): Promise<boolean>;
  /** Fulfilled when the device has no more to do with memory. */
  reset(): Promise<void>;
}
