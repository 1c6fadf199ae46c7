// virtio: the ring features that are offered, and the ring format that was negotiated.
import type { RingFormat } from './ring-format.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from './spec.ts';
import { splitFormat } from './split/split-format.ts';

/** The ring features that every queue here supports, and that every transport offers. */
export const RING_FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;

/**
 * The ring format for the negotiated `features`. VIRTIO_F_RING_PACKED is not offered, so it is always the split one.
 */
export function ringFormatOf(_features: bigint): RingFormat {
  return splitFormat;
}
