// virtio: the ring format that was negotiated.
import type { RingFormat } from './ring-format.ts';
import { splitFormat } from './split/split-format.ts';

/**
 * The ring format for the negotiated `features`. VIRTIO_F_RING_PACKED is not offered, so it is always the split one.
 */
export function ringFormatOf(_features: bigint): RingFormat {
  return splitFormat;
}
