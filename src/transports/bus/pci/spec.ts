// bus/pci: numbers of PCI's configuration space and of virtio's structures in it: PCI 3.0 chapter 6, VIRTIO 1.3
// §4.1.

// The configuration space of a function (type 0)
export const PCI_CONFIG_BYTES = 256;
export const PciConfig = {
  vendorId: 0x00,
  deviceId: 0x02,
  command: 0x04,
  status: 0x06,
  revisionId: 0x08,
  classCode: 0x09, // three bytes: interface, subclass, class
  cacheLineSize: 0x0c,
  bar0: 0x10,
  subsystemVendorId: 0x2c,
  subsystemId: 0x2e,
  capabilities: 0x34,
  interruptLine: 0x3c,
} as const;
export const PCI_COMMAND_MEMORY = 1 << 1; // the BARs answer
export const PCI_COMMAND_DMA = 1 << 2; // the device may access memory, and send messages
export const PCI_COMMAND_INTX_DISABLE = 1 << 10;
export const PCI_STATUS_INTERRUPT = 1 << 3;
export const PCI_STATUS_CAPABILITIES = 1 << 4;
/** Capabilities begin after the header. */
export const PCI_HEADER_BYTES = 0x40;

// MSI-X, PCI 3.0 §6.8.2
export const PCI_CAP_ID_MSIX = 0x11;
export const MsixCapability = { control: 2, table: 4, pending: 8 } as const;
export const MSIX_CAPABILITY_BYTES = 12;
export const MSIX_CONTROL_MASK_ALL = 1 << 14;
export const MSIX_CONTROL_ENABLE = 1 << 15;
export const MSIX_ENTRY_BYTES = 16;
export const MsixEntry = { addressLow: 0, addressHigh: 4, data: 8, control: 12 } as const;
export const MSIX_ENTRY_MASKED = 1;
export const MSIX_VECTORS_MAX = 2048;

// §4.1.2 Discovery
export const VIRTIO_PCI_VENDOR = 0x1af4;
export const VIRTIO_PCI_DEVICE = 0x1040; // plus the device type
export const VIRTIO_PCI_SUBSYSTEM = 0x40; // "SHOULD have a PCI Subsystem Device ID of 0x40 or higher"
export const VIRTIO_PCI_REVISION = 1; // "SHOULD have a PCI Revision ID of 1 or higher"

// §4.1.4 struct virtio_pci_cap
export const PCI_CAP_ID_VNDR = 0x09;
export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
export const VIRTIO_PCI_CAP_PCI_CFG = 5;
export const VirtioCapability = { length: 2, type: 3, bar: 4, offset: 8, sizeBytes: 12, extra: 16 } as const;
export const VIRTIO_CAPABILITY_BYTES = 16;

// §4.1.4.3 struct virtio_pci_common_cfg
export const CommonConfig = {
  device_feature_select: 0x00,
  device_feature: 0x04,
  driver_feature_select: 0x08,
  driver_feature: 0x0c,
  config_msix_vector: 0x10,
  num_queues: 0x12,
  device_status: 0x14,
  config_generation: 0x15,
  queue_select: 0x16,
  queue_size: 0x18,
  queue_msix_vector: 0x1a,
  queue_enable: 0x1c,
  queue_notify_off: 0x1e,
  queue_desc: 0x20,
  queue_driver: 0x28,
  queue_device: 0x30,
  queue_notif_config_data: 0x38,
  queue_reset: 0x3a,
  admin_queue_index: 0x3c,
  admin_queue_num: 0x3e,
} as const;
export const COMMON_CONFIG_BYTES = 0x40;
/** §4.1.5.1.2: an event that is mapped to no vector. */
export const VIRTIO_MSI_NO_VECTOR = 0xffff;

// §4.1.4.5 ISR status
export const ISR_QUEUE = 1;
export const ISR_CONFIG = 2;

/** Where each structure is in BAR 0, a page or more each; every queue's doorbell is a word of its own. */
export const Bar0 = { common: 0x0000, isr: 0x1000, device: 0x2000, notify: 0x3000 } as const;
export const BAR0_BYTES = 0x4000;
export const NOTIFY_MULTIPLIER = 4;
/** MSI-X table and pending bits in BAR 1, with room for the largest number of vectors. */
export const Bar1 = { table: 0, pending: 0x8000 } as const;
export const BAR1_BYTES = 0x1_0000;
