// Cellar: which ring format the driver and the device agreed on.
import type { RingFormat } from './ring-format.ts';
import { splitFormat } from './split/split-format.ts';

/** The format of rings under `features`. VIRTIO_F_RING_PACKED is not offered, so there is one. */
export function ringFormatOf(_features: bigint): RingFormat {
  return splitFormat;
}
