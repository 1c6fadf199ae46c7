// kvm: a vCPU's registers, as plain objects: general, special (segments, control), floating point,
// model-specific.
import { SystemError } from '../sys/libc.ts';
import { KVM_DTABLE, KVM_FPU, KVM_LAPIC, KVM_MSR_ENTRY, KVM_MSRS, KVM_SEGMENT, KVM_SREGS } from './constants.ts';
import { ioctlWithStruct, zeroedStruct } from './ioctl.ts';

// In the order of struct kvm_regs, eight bytes each.
const GENERAL = [
  ...(['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip', 'rflags'] as const),
];
const REGS_BYTES = 8 * GENERAL.length;

/** struct kvm_regs: rax to r15, rip, rflags. */
export type GeneralRegisters = { [name in (typeof GENERAL)[number]]: bigint };

/**
 * Returns the general registers of a vCPU (`vcpu.fd`), on the thread that runs it. KVM_GET_REGS. Throws SystemError.
 */
export function getRegisters(vcpuFd: number): GeneralRegisters {
  const memory = zeroedStruct(REGS_BYTES);
  ioctlWithStruct(vcpuFd, 'KVM_GET_REGS');
  return Object.fromEntries(GENERAL.map((name, i) => [name, memory.getBigUint64(8 * i, true)])) as GeneralRegisters;
}

/** Sets all general registers; those that are left out become 0. rflags always has its reserved bit 1. KVM_SET_REGS. */
export function setRegisters(vcpuFd: number, registers: Partial<GeneralRegisters>): void {
  const memory = zeroedStruct(REGS_BYTES);
  GENERAL.forEach((name, i) => {
    memory.setBigUint64(8 * i, (registers[name] ?? 0n) | (name === 'rflags' ? 2n : 0n), true);
  });
  ioctlWithStruct(vcpuFd, 'KVM_SET_REGS');
}

/** struct kvm_segment: a segment register, its hidden part included. Flags are 0 or 1. */
export interface Segment {
  /** Where the segment begins: in real mode, 16 times the selector. */
  base: bigint;
  limit: number;
  /** The visible part. */
  selector: number;
  /** Four bits: code or data, and access rights. */
  type: number;
  present: number;
  /** 0 to 3 (DPL). */
  privilege: number;
  /** 32-bit. */
  db: number;
  /** Code or data; 0: a system segment. */
  s: number;
  /** 64-bit code. */
  l: number;
  /** Granularity: the limit is in pages. */
  g: number;
  available: number;
  unusable: number;
}

export interface DescriptorTable {
  base: bigint;
  limit: number;
}

// In the order of struct kvm_sregs: eight segments, two tables, then these words.
const SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const;
const SEGMENT_BYTES = ['type', 'present', 'privilege', 'db', 's', 'l', 'g', 'available', 'unusable'] as const;
const CONTROL = ['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer', 'apicBase'] as const;

/** struct kvm_sregs: segments, descriptor tables, control registers, the base of the local APIC. */
export type SpecialRegisters = { [name in (typeof SEGMENTS)[number]]: Segment } & {
  [name in (typeof CONTROL)[number]]: bigint;
} & { gdt: DescriptorTable; idt: DescriptorTable };

/**
 * Returns the special registers of a vCPU (`vcpu.fd`), on the thread that runs it. KVM_GET_SREGS. Throws SystemError.
 */
export function getSpecialRegisters(vcpuFd: number): SpecialRegisters {
  const memory = zeroedStruct(KVM_SREGS.sizeBytes);
  ioctlWithStruct(vcpuFd, 'KVM_GET_SREGS');
  return {
    ...Object.fromEntries(SEGMENTS.map((name, i) => [name, readSegment(memory, i * KVM_SEGMENT.sizeBytes)])),
    ...Object.fromEntries(CONTROL.map((name, i) => [name, memory.getBigUint64(KVM_SREGS.control + 8 * i, true)])),
    gdt: readTable(memory, KVM_SREGS.gdt),
    idt: readTable(memory, KVM_SREGS.idt),
  } as SpecialRegisters;
}

/**
 * Sets all special registers, as changed from `getSpecialRegisters`. Drops a pending external interrupt. KVM_SET_SREGS.
 */
export function setSpecialRegisters(vcpuFd: number, registers: SpecialRegisters): void {
  const memory = zeroedStruct(KVM_SREGS.sizeBytes);
  SEGMENTS.forEach((name, i) => {
    writeSegment(memory, i * KVM_SEGMENT.sizeBytes, registers[name]);
  });
  CONTROL.forEach((name, i) => {
    memory.setBigUint64(KVM_SREGS.control + 8 * i, registers[name], true);
  });
  writeTable(memory, KVM_SREGS.gdt, registers.gdt);
  writeTable(memory, KVM_SREGS.idt, registers.idt);
  ioctlWithStruct(vcpuFd, 'KVM_SET_SREGS', 'the mode bits of cr0, cr4, efer and cs contradict each other');
}

function readSegment(memory: DataView, at: number): Segment {
  return {
    base: memory.getBigUint64(at + KVM_SEGMENT.base, true),
    limit: memory.getUint32(at + KVM_SEGMENT.limit, true),
    selector: memory.getUint16(at + KVM_SEGMENT.selector, true),
    ...Object.fromEntries(SEGMENT_BYTES.map((name) => [name, memory.getUint8(at + KVM_SEGMENT[name])])),
  } as Segment;
}

function writeSegment(memory: DataView, at: number, segment: Segment): void {
  memory.setBigUint64(at + KVM_SEGMENT.base, segment.base, true);
  memory.setUint32(at + KVM_SEGMENT.limit, segment.limit, true);
  memory.setUint16(at + KVM_SEGMENT.selector, segment.selector, true);
  for (const name of SEGMENT_BYTES) memory.setUint8(at + KVM_SEGMENT[name], segment[name]);
}

function readTable(memory: DataView, at: number): DescriptorTable {
  return {
    base: memory.getBigUint64(at + KVM_DTABLE.base, true),
    limit: memory.getUint16(at + KVM_DTABLE.limit, true),
  };
}

function writeTable(memory: DataView, at: number, { base, limit }: DescriptorTable): void {
  memory.setBigUint64(at + KVM_DTABLE.base, base, true);
  memory.setUint16(at + KVM_DTABLE.limit, limit, true);
}

/**
 * Sets the x87 and SSE state after reset, as Linux expects it at its entry: all exceptions masked, round to nearest.
 */
export function resetFloatingPoint(vcpuFd: number): void {
  const memory = zeroedStruct(KVM_FPU.sizeBytes);
  memory.setUint16(KVM_FPU.controlWord, 0x37f, true);
  memory.setUint32(KVM_FPU.mxcsr, 0x1f80, true);
  ioctlWithStruct(vcpuFd, 'KVM_SET_FPU');
}

/** Returns model-specific registers, by index. Throws SystemError that names the first one that KVM does not know. */
export function getMsrs(vcpuFd: number, indices: readonly number[]): bigint[] {
  const memory = msrStruct(indices.map((index) => [index, 0n]));
  checkMsrs('KVM_GET_MSRS', ioctlWithStruct(vcpuFd, 'KVM_GET_MSRS'), indices);
  return indices.map((_, i) =>
    memory.getBigUint64(KVM_MSRS.entries + i * KVM_MSR_ENTRY.sizeBytes + KVM_MSR_ENTRY.value, true),
  );
}

/**
 * Sets model-specific registers. Throws SystemError that names the first one that KVM refuses; those before it are set.
 */
export function setMsrs(vcpuFd: number, values: readonly (readonly [index: number, value: bigint])[]): void {
  msrStruct(values);
  const indices = values.map(([index]) => index);
  checkMsrs('KVM_SET_MSRS', ioctlWithStruct(vcpuFd, 'KVM_SET_MSRS'), indices);
}

function msrStruct(values: readonly (readonly [index: number, value: bigint])[]): DataView<ArrayBuffer> {
  const memory = zeroedStruct(KVM_MSRS.entries + values.length * KVM_MSR_ENTRY.sizeBytes);
  memory.setUint32(KVM_MSRS.count, values.length, true);
  values.forEach(([index, value], i) => {
    const at = KVM_MSRS.entries + i * KVM_MSR_ENTRY.sizeBytes;
    memory.setUint32(at + KVM_MSR_ENTRY.index, index, true);
    memory.setBigUint64(at + KVM_MSR_ENTRY.value, value, true);
  });
  return memory;
}

/** These ioctls return how many registers they processed, without setting errno. */
function checkMsrs(name: 'KVM_GET_MSRS' | 'KVM_SET_MSRS', done: number, indices: readonly number[]): void {
  if (done === indices.length) return;
  throw new SystemError(
    name,
    'EINVAL',
    `register 0x${indices[done]?.toString(16)}: this KVM does not have it, or not that value`,
  );
}

/** Returns a copy of the local APIC's registers, laid out as at 0xfee00000. KVM_GET_LAPIC. */
export function getLocalApic(vcpuFd: number): Uint8Array<ArrayBuffer> {
  const memory = zeroedStruct(KVM_LAPIC.sizeBytes);
  ioctlWithStruct(vcpuFd, 'KVM_GET_LAPIC', 'there is no local APIC: create the irqchip before the vCPU');
  return new Uint8Array(memory.buffer, 0, KVM_LAPIC.sizeBytes).slice();
}

export function setLocalApic(vcpuFd: number, registers: Uint8Array): void {
  new Uint8Array(zeroedStruct(KVM_LAPIC.sizeBytes).buffer).set(registers);
  ioctlWithStruct(vcpuFd, 'KVM_SET_LAPIC');
}
