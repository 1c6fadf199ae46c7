// vmm: whether a back end's disk can replace one that a driver already uses: features, queues, configuration.
// §5.2.3, §5.2.4.
import { CONFIG, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_WRITE_ZEROES } from '../devices/blk/spec.ts';

/** What a driver reads of a disk once, and relies on afterwards. */
export interface DiskTraits {
  /** Features, those of the ring included. */
  readonly features: bigint;
  readonly queues: number;
  /** The configuration space. */
  readonly config: Uint8Array;
}

/** Limits that a driver keeps: a larger one is compatible. `unlimited`: the value that means no limit. */
const LIMITS = [
  { name: 'size_max', feature: 0n, unlimited: 0 },
  { name: 'seg_max', feature: 0n },
  { name: 'max_discard_sectors', feature: VIRTIO_BLK_F_DISCARD },
  { name: 'max_discard_seg', feature: VIRTIO_BLK_F_DISCARD },
  { name: 'max_write_zeroes_sectors', feature: VIRTIO_BLK_F_WRITE_ZEROES },
  { name: 'max_write_zeroes_seg', feature: VIRTIO_BLK_F_WRITE_ZEROES },
] as const;

/** Why `offer` cannot replace `disk`, which a driver uses already; undefined: it can. */
export function incompatibility(disk: DiskTraits, offer: DiskTraits): string | undefined {
  const missing = disk.features & ~offer.features;
  if (missing !== 0n) return `it does not offer the feature bits 0x${missing.toString(16)}`;
  if ((offer.features & ~disk.features & VIRTIO_BLK_F_RO) !== 0n) return 'its disk is read-only';
  if (offer.queues < disk.queues) return `it has ${count(offer.queues)}, the disk has ${disk.queues}`;
  const [ours, theirs] = [viewOf(disk.config), viewOf(offer.config)];
  const capacity = theirs.getBigUint64(CONFIG.capacity, true);
  if (capacity !== ours.getBigUint64(CONFIG.capacity, true))
    return `its disk has ${capacity} sectors, the machine's has ${ours.getBigUint64(CONFIG.capacity, true)}`;
  const blockSize = theirs.getUint32(CONFIG.blk_size, true);
  if (blockSize !== ours.getUint32(CONFIG.blk_size, true)) return `its blocks have ${blockSize} bytes`;
  for (const { name, feature, ...limit } of LIMITS) {
    const [least, most] = [ours, theirs].map((view) => view.getUint32(CONFIG[name], true)) as [number, number];
    const isLimited = feature === 0n || (disk.features & feature) !== 0n;
    const isUnlimited = 'unlimited' in limit && most === limit.unlimited;
    if (isLimited && most < least && !isUnlimited) return `its ${name} is ${most}, the driver was told ${least}`;
  }
  return undefined;
}

function count(queues: number): string {
  return queues === 1 ? '1 queue' : `${queues} queues`;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
