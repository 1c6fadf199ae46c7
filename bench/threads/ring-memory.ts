// bench/threads: the addresses of the ring in the memory that driver and device share.
import type { Mapping } from '../../src/sys/mapping.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import type { AreaBytes } from '../../src/virtio/ring-format.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import { splitQueueBytes } from '../../src/virtio/split/split-format.ts';
import { planQueue, type QueuePlan } from '../load/queue-plan.ts';

/** Guest address of the shared memory. */
export const GUEST_BASE = 0x4000_0000;

/** A request's data is one descriptor up to this size: the size_max of `BlockDevice`. */
const SEGMENT_BYTES_MAX = 1 << 20;

/** Plans a queue from byte 0 of the memory on. */
export function planOnlyQueue(depth: number, blockBytes: number): QueuePlan {
  return planQueue(0, { depth, blockBytes, segmentBytesMax: SEGMENT_BYTES_MAX });
}

/** The memory that the largest of `plans` takes, in whole pages. */
export function memoryBytesOf(plans: readonly QueuePlan[]): number {
  return Math.ceil(Math.max(...plans.map(({ end }) => end)) / 4096) * 4096;
}

/** The device's view of the ring. */
export function areasOf(memory: Mapping, plan: QueuePlan): AreaBytes {
  const bytes = splitQueueBytes(plan.size);
  const part = (at: number, length: number): Uint8Array<ArrayBuffer> => memory.bytes.subarray(at, at + length);
  return {
    descriptorArea: part(plan.descriptorArea, bytes.descriptorArea),
    driverArea: part(plan.driverArea, bytes.driverArea),
    deviceArea: part(plan.deviceArea, bytes.deviceArea),
  };
}

export function guestMemoryOf(memory: Mapping): GuestMemory {
  return new GuestMemory([{ guestAddress: GUEST_BASE, bytes: memory.bytes }]);
}

export function ringFeatures(eventIdx: boolean): bigint {
  return VIRTIO_F_VERSION_1 | (eventIdx ? VIRTIO_F_EVENT_IDX : 0n);
}
