// Cellar: what a transport knows of a device, and nothing more.
import type { Virtqueue } from './device-queue.ts';

export interface VirtioDevice {
  /** §5, e.g. VIRTIO_ID_BLOCK. */
  readonly type: number;
  /** Feature bits offered, transport bits aside (the queue's own, such as EVENT_IDX, come from the transport). */
  readonly features: bigint;
  /** The largest size of each queue; its length is the number of queues. */
  readonly queueSizes: readonly number[];
  /** The device configuration space as the driver reads it, little-endian. */
  readonly config: Uint8Array;
  /** Drains a queue that may have work, and gives what `drain` gave. Throws DriverError when the driver broke a MUST. */
  process(queue: Virtqueue, index: number): number;
  /** The driver accepted these features. */
  activate?(features: bigint): void;
  /** The driver writes `bytes` at `offset` of the configuration space. False where that field is not writable. */
  writeConfig?(offset: number, bytes: Uint8Array): boolean;
  /** Back to how it was before `activate`, §2.1. Nothing is in flight then. */
  reset?(): void;
  /** Set by the transport; the device calls it after its configuration space changed by itself. */
  onConfigChange?: (() => void) | undefined;
}

/** What a driver may accept: it "MUST NOT accept a feature which the device did not offer", §2.2.1. */
export function unofferedFeatures(accepted: bigint, offered: bigint): bigint {
  return accepted & ~offered;
}
