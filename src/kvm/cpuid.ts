// kvm: the CPUID of a guest: reads what this processor and KVM support, and sets what the guest sees.
import { Scratch } from '../sys/scratch.ts';
import { KVM_CPUID_ENTRY as ENTRY, KVM_CPUID } from './constants.ts';
import { ioctlWithStruct } from './ioctl.ts';

/** The result of the CPUID instruction for one leaf, or for one subleaf of it. */
export interface CpuidEntry {
  /** The input in eax. */
  leaf: number;
  /** The input in ecx, where the subleaf is significant. */
  subleaf: number;
  /** Bit 0: the subleaf is significant. */
  flags: number;
  /** The output, in eax to edx. */
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

const FIELDS = ['leaf', 'subleaf', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const;
/** KVM has 256 entries at most. */
const ENTRIES_MAX = 256;

/**
 * Returns the entries that KVM supports on this machine, to change and pass to `setCpuid`. KVM_GET_SUPPORTED_CPUID
 * (api.rst 4.46).
 */
export function supportedCpuid(kvmFd: number): CpuidEntry[] {
  using memory = new Scratch(KVM_CPUID.entries + ENTRIES_MAX * ENTRY.sizeBytes);
  memory.view.setUint32(KVM_CPUID.count, ENTRIES_MAX, true);
  ioctlWithStruct(kvmFd, 'KVM_GET_SUPPORTED_CPUID', 'this is asked of /dev/kvm itself', memory);
  return Array.from({ length: memory.view.getUint32(KVM_CPUID.count, true) }, (_, i) => {
    const at = KVM_CPUID.entries + i * ENTRY.sizeBytes;
    return Object.fromEntries(FIELDS.map((name) => [name, memory.view.getUint32(at + ENTRY[name], true)]));
  }) as unknown as CpuidEntry[];
}

/** Sets the CPUID of a vCPU, before it first runs. KVM_SET_CPUID2. */
export function setCpuid(vcpuFd: number, entries: readonly CpuidEntry[]): void {
  using memory = new Scratch(KVM_CPUID.entries + entries.length * ENTRY.sizeBytes);
  memory.view.setUint32(KVM_CPUID.count, entries.length, true);
  entries.forEach((entry, i) => {
    const at = KVM_CPUID.entries + i * ENTRY.sizeBytes;
    for (const name of FIELDS) memory.view.setUint32(at + ENTRY[name], entry[name], true);
  });
  ioctlWithStruct(vcpuFd, 'KVM_SET_CPUID2', 'KVM does not have these features, or the vCPU ran already', memory);
}
