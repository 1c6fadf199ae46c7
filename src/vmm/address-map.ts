// vmm: its address map: memory, devices, ports and interrupt lines; and the names of the virtio buses.

/**
 * ```
 *          0 .. 0x9_fc00         memory, with the boot data for the kernel (below)
 *    0x9_fc00 .. 0x10_0000       reserved; the ACPI tables are at 0xe_0000
 *   0x10_0000 .. 0xc000_0000     memory; the kernel begins at 16 MiB, the initrd is at the end
 * 0xc000_0000 .. 0xd000_0000     windows of PCI devices (BARs)
 * 0xd000_0000 .. 0xd001_1000     virtio-mmio: 17 windows of 4 KiB
 * 0xfec0_0000, 0xfee0_0000       IOAPIC, local APIC: inside KVM
 * 0x1_0000_0000 ..               memory that does not fit below 0xc000_0000
 * ```
 */
export const LOW_MEMORY_END = 0xc000_0000;
export const HIGH_MEMORY_START = 0x1_0000_0000;
export const PCI_WINDOW = { start: 0xc000_0000, end: 0xd000_0000 } as const;
export const VIRTIO_MMIO = { start: 0xd000_0000, sizeBytes: 0x1000 } as const;
export const IOAPIC = 0xfec0_0000;
export const LOCAL_APIC = 0xfee0_0000;

/** The boot data in the first MiB. The kernel may reuse the descriptor and page tables once it has its own. */
export const GDT = 0x500;
export const BOOT_PARAMS = 0x7000;
export const BOOT_STACK = 0x8ff0;
export const PAGE_TABLES = 0x9000;
export const COMMAND_LINE = 0x2_0000;
export const COMMAND_LINE_MAX = 0x1_0000;
export const LEGACY_AREA = { start: 0x9_fc00, end: 0x10_0000 } as const;
export const ACPI_TABLES = { start: 0xe_0000, end: 0x10_0000 } as const;

/** Ports. */
export const PORTS = {
  keyboardController: 0x64,
  cmos: 0x70,
  /** Writing a byte ends the guest with that exit code. */
  exit: 0xf4,
  serial: 0x3f8,
  pciConfig: 0xcf8,
  pmEvent: 0x600,
  pmControl: 0x604,
  pmTimer: 0x608,
  reset: 0x60c,
} as const;

/**
 * Interrupt lines (GSIs). The IOAPIC has 24: virtio-mmio windows have one each, except for those of timer (0), keyboard
 * (1), 8259 (2), serial ports (3, 4), clock (8) and ACPI (9). Messages (MSI) use GSIs from `firstMessage` on.
 */
export const GSIS = {
  serial: 4,
  acpi: 9,
  virtioMmio: [5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23],
  firstMessage: 32,
} as const;

/** APIC ids have 8 bits: 255 is broadcast, and the IOAPIC has one too. */
export const CPUS_MAX = 254;

/** The buses of virtio devices. */
export const TRANSPORTS = ['mmio', 'pci'] as const;
export type TransportName = (typeof TRANSPORTS)[number];
