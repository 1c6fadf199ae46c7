// bench/load: the layout of a queue's rings, headers, statuses and data in the memory of the load generator. Pure.
import { REQUEST_HEADER_BYTES } from '../../src/devices/blk/spec.ts';
import { QUEUE_SIZE_MAX } from '../../src/virtio/spec.ts';
import { splitQueueBytes } from '../../src/virtio/split/split-format.ts';

/** Slot `i` is one request in flight. From descriptor i * descriptorsPerSlot it owns: header, data segments, status. */
export interface QueuePlan {
  /** Descriptors, a power of two. */
  readonly size: number;
  readonly slots: number;
  readonly descriptorsPerSlot: number;
  /** Bytes of data in a request, and in each of its data descriptors but the last. */
  readonly blockBytes: number;
  readonly segmentBytes: number;
  // Offsets in the shared memory, in bytes.
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
  /** ENVELOPE_BYTES for each slot: the request's header, and its status at ENVELOPE_STATUS. */
  readonly envelopes: number;
  readonly data: number;
  readonly end: number;
}

export interface QueueNeeds {
  readonly depth: number;
  readonly blockBytes: number;
  /** The most bytes one descriptor may cover: the device's size_max. */
  readonly segmentBytesMax: number;
}

const CACHE_LINE_BYTES = 64;
/** Header and status of a request have a cache line of their own, as in Linux's driver. */
export const ENVELOPE_BYTES = CACHE_LINE_BYTES;
export const ENVELOPE_STATUS = REQUEST_HEADER_BYTES;
const PAGE_BYTES = 4096;

/** Plans a queue from byte `start` of the shared memory on. Throws RangeError where no queue is large enough. */
export function planQueue(start: number, needs: QueueNeeds): QueuePlan {
  const { depth: slots, blockBytes } = needs;
  const segmentBytes = Math.min(blockBytes, needs.segmentBytesMax);
  const descriptorsPerSlot = 2 + Math.ceil(blockBytes / segmentBytes);
  const size = 2 ** Math.ceil(Math.log2(slots * descriptorsPerSlot));
  if (size > QUEUE_SIZE_MAX) {
    throw new RangeError(
      `depth ${slots} takes ${slots * descriptorsPerSlot} descriptors, a queue has ${QUEUE_SIZE_MAX}`,
    );
  }
  const bytes = splitQueueBytes(size);
  let at = start;
  const place = (sizeBytes: number, alignBytes: number): number => {
    const offset = Math.ceil(at / alignBytes) * alignBytes;
    at = offset + sizeBytes;
    return offset;
  };
  const descriptorArea = place(bytes.descriptorArea, PAGE_BYTES);
  const driverArea = place(bytes.driverArea, CACHE_LINE_BYTES);
  const deviceArea = place(bytes.deviceArea, CACHE_LINE_BYTES);
  const envelopes = place(ENVELOPE_BYTES * slots, CACHE_LINE_BYTES);
  const data = place(slots * blockBytes, PAGE_BYTES);
  const rings = { descriptorArea, driverArea, deviceArea };
  return { size, slots, descriptorsPerSlot, blockBytes, segmentBytes, ...rings, envelopes, data, end: at };
}
