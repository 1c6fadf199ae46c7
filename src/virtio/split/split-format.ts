// virtio: the split virtqueue as a ring format: sizes, alignment, base. §2.7.
import type { RingAreas, RingFormat } from '../ring-format.ts';
import { DESCRIPTOR_BYTES, QUEUE_SIZE_MAX } from '../spec.ts';
import { splitInFlightBytes } from './split-in-flight.ts';
import { SplitQueue } from './split-queue.ts';
import { SplitRing } from './split-ring.ts';

/** Bytes of each area of a split virtqueue with `size` descriptors, §2.7. */
export function splitQueueBytes(size: number): RingAreas {
  return { descriptorArea: DESCRIPTOR_BYTES * size, driverArea: 6 + 2 * size, deviceArea: 6 + 8 * size };
}

/** The split format, §2.7. */
export const splitFormat: RingFormat = {
  bytes: splitQueueBytes,
  inFlightBytes: splitInFlightBytes,
  alignment: { descriptorArea: 16, driverArea: 2, deviceArea: 4 },
  // "Queue Size is always a power of 2."
  isSize: (size) => Number.isInteger(size) && size >= 1 && size <= QUEUE_SIZE_MAX && (size & (size - 1)) === 0,
  // The base is the available index up to which requests were popped.
  firstBase: 0,
  isBase: (base) => Number.isInteger(base) && base >= 0 && base <= 0xffff,
  open: (size, areas, memory, options) => new SplitQueue(new SplitRing(size, areas), memory, options),
};
