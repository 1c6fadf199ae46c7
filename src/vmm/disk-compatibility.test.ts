// What a back end has to offer before it gets a disk that a driver already uses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { CONFIG, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_RO } from '../devices/blk/spec.ts';
import { type DiskTraits, incompatibility } from './disk-compatibility.ts';

const store: BlockStore = { sizeBytes: 1 << 20, read() {}, write() {}, flush() {}, discard() {}, writeZeroes() {} };

function traits(changes: Partial<DiskTraits> = {}): DiskTraits {
  const device = new BlockDevice(store, { queues: 2 });
  return { features: device.features, queues: 2, config: device.config.bytes, ...changes };
}

function withField(field: keyof typeof CONFIG, value: number): DiskTraits {
  const { config, ...rest } = traits();
  new DataView(config.buffer).setUint32(CONFIG[field], value, true);
  return { config, ...rest };
}

test('the same disk is compatible, and one that can do more', () => {
  const { features } = traits();
  assert.equal(incompatibility(traits(), traits()), undefined);
  assert.equal(incompatibility(traits(), traits({ queues: 64, features: features | (1n << 14n) })), undefined);
  assert.equal(incompatibility(traits(), withField('max_discard_seg', 32)), undefined);
  assert.equal(incompatibility(traits(), withField('size_max', 0)), undefined, 'no size_max at all');
});

test('another disk, or one that can do less, is not, and the reason is given', () => {
  const { features } = traits();
  for (const [offer, reason] of [
    [traits({ features: features & ~VIRTIO_BLK_F_DISCARD }), /^it does not offer the feature bits 0x2000$/],
    [traits({ features: features | VIRTIO_BLK_F_RO }), /^its disk is read-only$/],
    [traits({ queues: 1 }), /^it has 1 queue, the disk has 2$/],
    [withField('capacity', 1), /^its disk has 1 sectors, the machine's has 2048$/],
    [withField('blk_size', 4096), /^its blocks have 4096 bytes$/],
    [withField('seg_max', 4), /^its seg_max is 4, the driver was told 126$/],
    [withField('size_max', 512), /^its size_max is 512,/],
    [withField('max_discard_sectors', 8), /^its max_discard_sectors is 8,/],
    [withField('max_write_zeroes_seg', 0), /^its max_write_zeroes_seg is 0,/],
  ] as const)
    assert.match(incompatibility(traits(), offer) ?? 'nothing', reason);
});

test('a limit of a feature that the disk does not have need not be kept', () => {
  const disk = traits({ features: traits().features & ~VIRTIO_BLK_F_DISCARD });
  assert.equal(incompatibility(disk, withField('max_discard_sectors', 0)), undefined);
});
