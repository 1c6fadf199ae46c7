// virtio: the numbers of VIRTIO 1.3 that every device shares.

// §2.1 Device status
export const DeviceStatus = {
  ACKNOWLEDGE: 1, // the guest has noticed the device
  DRIVER: 2, // it knows how to drive it
  DRIVER_OK: 4, // the driver is ready: from now on queues run
  FEATURES_OK: 8, // the driver's choice of features is final
  DEVICE_NEEDS_RESET: 64, // the device is in an error only a reset ends
  FAILED: 128, // the driver gave up
} as const;

// §2.2 "0 to 23, and 50 to 127: feature bits for the specific device type"; those between belong to the ring and the
// transport
export const DEVICE_FEATURE_BITS = ((1n << 24n) - 1n) | (((1n << 78n) - 1n) << 50n);

// §6 Reserved feature bits
export const VIRTIO_F_INDIRECT_DESC = 1n << 28n; // the driver can use descriptors with VIRTQ_DESC_F_INDIRECT
export const VIRTIO_F_EVENT_IDX = 1n << 29n; // used_event and avail_event say when to notify
export const VIRTIO_F_VERSION_1 = 1n << 32n; // not a legacy device

// §2.7.5 The virtqueue descriptor table: struct virtq_desc { le64 addr; le32 len; le16 flags; le16 next; }
export const DESCRIPTOR_BYTES = 16;
export const VIRTQ_DESC_F_NEXT = 1; // the buffer continues in the descriptor `next`
export const VIRTQ_DESC_F_WRITE = 2; // device-writable (otherwise device-readable)
export const VIRTQ_DESC_F_INDIRECT = 4; // the buffer is a table of descriptors

// §2.7.6 The available ring: le16 flags, idx, ring[size], used_event
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1; // the driver asks not to be notified
// §2.7.8 The used ring: le16 flags, idx; { le32 id; le32 len } ring[size]; le16 avail_event
export const VIRTQ_USED_F_NO_NOTIFY = 1; // the device asks not to be notified

// §2.7 "Queue Size is always a power of 2. The maximum Queue Size value is 32768."
export const QUEUE_SIZE_MAX = 32768;

// §5 Device types: those for which a driver is known to exist
/** A network card, §5.1. */
export const VIRTIO_ID_NET = 1;
/** A disk, §5.2. */
export const VIRTIO_ID_BLOCK = 2;
/** A console: bytes in and out, §5.3. */
export const VIRTIO_ID_CONSOLE = 3;
/** A source of random numbers, §5.4. */
export const VIRTIO_ID_ENTROPY = 4;
/** Asks the guest for memory and gives it back, §5.5. */
export const VIRTIO_ID_BALLOON = 5;
/** A SCSI host adapter, §5.6. */
export const VIRTIO_ID_SCSI = 8;
/** A file system by the 9P protocol. */
export const VIRTIO_ID_9P = 9;
/** A graphics adapter, §5.7. */
export const VIRTIO_ID_GPU = 16;
/** Clocks. VIRTIO 1.4. */
export const VIRTIO_ID_CLOCK = 17;
/** A keyboard, a mouse, a touch screen, §5.8. */
export const VIRTIO_ID_INPUT = 18;
/** Stream and packet sockets between guest and host, §5.10. */
export const VIRTIO_ID_VSOCK = 19;
/** A cryptographic accelerator, §5.9. */
export const VIRTIO_ID_CRYPTO = 20;
/** An IOMMU, §5.13. */
export const VIRTIO_ID_IOMMU = 23;
/** Memory that is plugged and unplugged, §5.15. */
export const VIRTIO_ID_MEM = 24;
/** A sound card, §5.14. */
export const VIRTIO_ID_SOUND = 25;
/** A file system by the FUSE protocol, §5.11. */
export const VIRTIO_ID_FS = 26;
/** Persistent memory, §5.19. */
export const VIRTIO_ID_PMEM = 27;
/** System control and management, §5.17. */
export const VIRTIO_ID_SCMI = 32;
/** An I2C bus, §5.16. */
export const VIRTIO_ID_I2C_ADAPTER = 34;
/** A CAN bus. VIRTIO 1.4. */
export const VIRTIO_ID_CAN = 36;
/** Bluetooth. */
export const VIRTIO_ID_BT = 40;
/** Pins, §5.18. */
export const VIRTIO_ID_GPIO = 41;
