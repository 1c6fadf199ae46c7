// kvm: the KVM ABI: ioctl numbers, capabilities, flags, and field offsets. linux/kvm.h, asm/kvm.h, x86-64.

export const KVM_API_VERSION = 12;

/** ioctl numbers by name; errors contain the name. */
export const IOCTLS = {
  // of /dev/kvm
  KVM_GET_API_VERSION: 0xae00n,
  KVM_CREATE_VM: 0xae01n,
  KVM_GET_MSR_INDEX_LIST: 0xc004_ae02n,
  KVM_CHECK_EXTENSION: 0xae03n,
  KVM_GET_VCPU_MMAP_SIZE: 0xae04n,
  KVM_GET_SUPPORTED_CPUID: 0xc008_ae05n,
  // of a VM
  KVM_CREATE_VCPU: 0xae41n,
  KVM_GET_DIRTY_LOG: 0x4010_ae42n,
  KVM_SET_USER_MEMORY_REGION: 0x4020_ae46n,
  KVM_SET_TSS_ADDR: 0xae47n,
  KVM_SET_IDENTITY_MAP_ADDR: 0x4008_ae48n,
  KVM_CREATE_IRQCHIP: 0xae60n,
  KVM_IRQ_LINE: 0x4008_ae61n,
  KVM_GET_IRQCHIP: 0xc208_ae62n,
  KVM_SET_IRQCHIP: 0x8208_ae63n,
  KVM_REGISTER_COALESCED_MMIO: 0x4010_ae67n,
  KVM_SET_GSI_ROUTING: 0x4008_ae6an,
  KVM_IRQFD: 0x4020_ae76n,
  KVM_CREATE_PIT2: 0x4040_ae77n,
  KVM_IOEVENTFD: 0x4040_ae79n,
  KVM_ENABLE_CAP: 0x4068_aea3n,
  KVM_SIGNAL_MSI: 0x4020_aea5n,
  // of a vCPU
  KVM_RUN: 0xae80n,
  KVM_GET_REGS: 0x8090_ae81n,
  KVM_SET_REGS: 0x4090_ae82n,
  KVM_GET_SREGS: 0x8138_ae83n,
  KVM_SET_SREGS: 0x4138_ae84n,
  KVM_GET_MSRS: 0xc008_ae88n,
  KVM_SET_MSRS: 0x4008_ae89n,
  KVM_GET_FPU: 0x81a0_ae8cn,
  KVM_SET_FPU: 0x41a0_ae8dn,
  KVM_GET_LAPIC: 0x8400_ae8en,
  KVM_SET_LAPIC: 0x4400_ae8fn,
  KVM_SET_CPUID2: 0x4008_ae90n,
  KVM_GET_MP_STATE: 0x8004_ae98n,
  KVM_SET_MP_STATE: 0x4004_ae99n,
} as const;

export type IoctlName = keyof typeof IOCTLS;

/** Arguments of KVM_CHECK_EXTENSION. */
export const CAPABILITIES = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_SET_TSS_ADDR: 4,
  KVM_CAP_EXT_CPUID: 7,
  KVM_CAP_NR_VCPUS: 9,
  KVM_CAP_NR_MEMSLOTS: 10,
  KVM_CAP_COALESCED_MMIO: 15,
  KVM_CAP_IRQ_ROUTING: 25,
  KVM_CAP_IRQFD: 32,
  KVM_CAP_PIT2: 33,
  KVM_CAP_IOEVENTFD: 36,
  KVM_CAP_SET_IDENTITY_MAP_ADDR: 37,
  KVM_CAP_MAX_VCPUS: 66,
  KVM_CAP_TSC_DEADLINE_TIMER: 72,
  KVM_CAP_SIGNAL_MSI: 77,
  KVM_CAP_READONLY_MEM: 81,
  KVM_CAP_IRQFD_RESAMPLE: 82,
  KVM_CAP_IOEVENTFD_NO_LENGTH: 100,
  KVM_CAP_SPLIT_IRQCHIP: 121,
  KVM_CAP_IOEVENTFD_ANY_LENGTH: 122,
  KVM_CAP_MAX_VCPU_ID: 128,
  KVM_CAP_IMMEDIATE_EXIT: 136,
} as const;

export type Capability = keyof typeof CAPABILITIES;

// kvm_run.exit_reason, which `Vcpu.run` returns.
/** The guest executed `in` or `out`: see `exits.io`. */
export const KVM_EXIT_IO = 2;
/** The guest executed `hlt`, without an in-kernel irqchip. */
export const KVM_EXIT_HLT = 5;
/** The guest accessed an address without memory: see `exits.mmio`. */
export const KVM_EXIT_MMIO = 6;
/** The guest had a triple fault, and has to be reset. */
export const KVM_EXIT_SHUTDOWN = 8;
/** The processor refused to enter the guest. */
export const KVM_EXIT_FAIL_ENTRY = 9;
/** A kick, or another signal, ended `run`, without an event in the guest. */
export const KVM_EXIT_INTR = 10;
/** KVM could not go on, mostly because it cannot emulate an instruction: `exits.describe` shows it. */
export const KVM_EXIT_INTERNAL_ERROR = 17;
/** The guest requested a shutdown or reset. */
export const KVM_EXIT_SYSTEM_EVENT = 24;

export const KVM_EXIT_IO_OUT = 1;

export const KVM_INTERNAL_ERROR_EMULATION = 1;
export const KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES = 1n;

export const KVM_SYSTEM_EVENT_SHUTDOWN = 1;
export const KVM_SYSTEM_EVENT_RESET = 2;
export const KVM_SYSTEM_EVENT_CRASH = 3;

// kvm_userspace_memory_region.flags
export const KVM_MEM_LOG_DIRTY_PAGES = 1;
export const KVM_MEM_READONLY = 2;

// kvm_ioeventfd.flags
export const KVM_IOEVENTFD_FLAG_DATAMATCH = 1;
export const KVM_IOEVENTFD_FLAG_PIO = 2;
export const KVM_IOEVENTFD_FLAG_DEASSIGN = 4;

// kvm_irqfd.flags
export const KVM_IRQFD_FLAG_DEASSIGN = 1;
export const KVM_IRQFD_FLAG_RESAMPLE = 2;

// kvm_irq_routing_entry.type
export const KVM_IRQ_ROUTING_IRQCHIP = 1;
export const KVM_IRQ_ROUTING_MSI = 2;

/** The controllers of the in-kernel irqchip, by their ABI number: two cascaded 8259s and an IOAPIC. */
export const IRQCHIPS = { pic1: 0, pic2: 1, ioapic: 2 } as const;
export type IrqchipName = keyof typeof IRQCHIPS;

// kvm_mp_state
export const KVM_MP_STATE_RUNNABLE = 0;
export const KVM_MP_STATE_UNINITIALIZED = 1;
export const KVM_MP_STATE_HALTED = 3;

// kvm_pit_config.flags
export const KVM_PIT_SPEAKER_DUMMY = 1;

// Offsets of fields, and sizes of structures in bytes.
export const KVM_RUN = {
  immediateExit: 1,
  exitReason: 8,
  readyForInterruptInjection: 12,
  ifFlag: 13,
  ioDirection: 32,
  ioSize: 33,
  ioPort: 34,
  ioCount: 36,
  ioDataOffset: 40,
  mmioAddress: 32,
  mmioData: 40,
  mmioLength: 48,
  mmioIsWrite: 52,
  hardwareExitReason: 32,
  failEntryReason: 32,
  failEntryCpu: 40,
  internalSuberror: 32,
  internalDataCount: 36,
  emulationFlags: 40,
  emulationInstructionSize: 48,
  emulationInstruction: 49,
  systemEventType: 32,
} as const;

export const KVM_USERSPACE_MEMORY_REGION = {
  slot: 0,
  flags: 4,
  guestAddress: 8,
  memorySize: 16,
  userspaceAddress: 24,
  sizeBytes: 32,
} as const;

export const KVM_DIRTY_LOG = { slot: 0, bitmapAddress: 8, sizeBytes: 16 } as const;
export const KVM_IOEVENTFD = { datamatch: 0, address: 8, length: 16, fd: 20, flags: 24, sizeBytes: 64 } as const;
export const KVM_IRQFD = { fd: 0, gsi: 4, flags: 8, resampleFd: 12, sizeBytes: 32 } as const;
export const KVM_IRQ_LEVEL = { irq: 0, level: 4, sizeBytes: 8 } as const;
export const KVM_MSI = { addressLow: 0, addressHigh: 4, data: 8, sizeBytes: 32 } as const;
export const KVM_PIT_CONFIG = { flags: 0, sizeBytes: 64 } as const;

export const KVM_IRQ_ROUTING = { count: 0, flags: 4, entries: 8 } as const;
export const KVM_IRQ_ROUTING_ENTRY = {
  gsi: 0,
  type: 4,
  irqchip: 16,
  pin: 20,
  msiAddressLow: 16,
  msiAddressHigh: 20,
  msiData: 24,
  sizeBytes: 48,
} as const;

export const KVM_IRQCHIP = { chip: 0, ioapicRedirection: 32, sizeBytes: 520 } as const;
export const KVM_LAPIC = { spurious: 0xf0, sizeBytes: 1024 } as const;

export const KVM_SREGS = { gdt: 192, idt: 208, control: 224, interruptBitmap: 280, sizeBytes: 312 } as const;
export const KVM_SEGMENT = {
  base: 0,
  limit: 8,
  selector: 12,
  type: 14,
  present: 15,
  privilege: 16,
  db: 17,
  s: 18,
  l: 19,
  g: 20,
  available: 21,
  unusable: 22,
  sizeBytes: 24,
} as const;
export const KVM_DTABLE = { base: 0, limit: 8, sizeBytes: 16 } as const;
export const KVM_FPU = { controlWord: 128, mxcsr: 408, sizeBytes: 416 } as const;

export const KVM_MSRS = { count: 0, entries: 8 } as const;
export const KVM_MSR_ENTRY = { index: 0, value: 8, sizeBytes: 16 } as const;
export const KVM_CPUID = { count: 0, entries: 8 } as const;
export const KVM_CPUID_ENTRY = {
  leaf: 0,
  subleaf: 4,
  flags: 8,
  eax: 12,
  ebx: 16,
  ecx: 20,
  edx: 24,
  sizeBytes: 40,
} as const;
