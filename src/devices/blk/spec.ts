// virtio-blk: the numbers of VIRTIO 1.3 §5.2, the block device.

// §5.2.3 Feature bits
export const VIRTIO_BLK_F_SIZE_MAX = 1n << 1n; // size_max: bytes in any one segment
export const VIRTIO_BLK_F_SEG_MAX = 1n << 2n; // seg_max: segments in a request
export const VIRTIO_BLK_F_RO = 1n << 5n; // writes fail
export const VIRTIO_BLK_F_BLK_SIZE = 1n << 6n; // blk_size: the block size to use
export const VIRTIO_BLK_F_FLUSH = 1n << 9n; // VIRTIO_BLK_T_FLUSH works
export const VIRTIO_BLK_F_TOPOLOGY = 1n << 10n; // hints on alignment
export const VIRTIO_BLK_F_CONFIG_WCE = 1n << 11n; // the driver may choose writeback or writethrough
export const VIRTIO_BLK_F_MQ = 1n << 12n; // num_queues
export const VIRTIO_BLK_F_DISCARD = 1n << 13n;
export const VIRTIO_BLK_F_WRITE_ZEROES = 1n << 14n;

// §5.2.6 Device operation: struct virtio_blk_req { le32 type; le32 reserved; le64 sector; u8 data[]; u8 status; }
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
export const REQUEST_HEADER_BYTES = 16;

export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;

/** The unit of `sector` and `capacity`, whatever blk_size says. */
export const SECTOR_BYTES = 512;
/** The device ID string: NUL-padded, not NUL-terminated when all 20 bytes are used. */
export const ID_BYTES = 20;

// struct virtio_blk_discard_write_zeroes { le64 sector; le32 num_sectors; le32 flags; }
export const RANGE_BYTES = 16;
export const RANGE_FLAG_UNMAP = 1;

// §5.2.4 struct virtio_blk_config: byte offsets
export const CONFIG_BYTES = 60;
export const CONFIG = {
  capacity: 0, // le64, in sectors
  size_max: 8, // le32
  seg_max: 12, // le32
  blk_size: 20, // le32
  physical_block_exp: 24, // u8, log2 of logical blocks in a physical one
  min_io_size: 26, // le16, in logical blocks
  opt_io_size: 28, // le32, in logical blocks
  writeback: 32, // u8, writable with CONFIG_WCE
  num_queues: 34, // le16
  max_discard_sectors: 36, // le32
  max_discard_seg: 40, // le32
  discard_sector_alignment: 44, // le32, in sectors
  max_write_zeroes_sectors: 48, // le32
  max_write_zeroes_seg: 52, // le32
  write_zeroes_may_unmap: 56, // u8
} as const;
