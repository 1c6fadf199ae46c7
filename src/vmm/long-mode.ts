// vmm: the state of the first processor at a 64-bit kernel's entry: long mode, flat segments, the first 4 GiB
// identity-mapped.
import {
  getSpecialRegisters,
  resetFloatingPoint,
  type Segment,
  setRegisters,
  setSpecialRegisters,
} from '../kvm/registers.ts';
import { BOOT_PARAMS, BOOT_STACK, GDT, PAGE_TABLES } from './address-map.ts';

const PAGE_BYTES = 0x1000;
const LARGE_PAGE_BYTES = 0x20_0000n;
const MAPPED_GIB = 4;
const PRESENT_WRITABLE = 3n;
const LARGE = 0x80n;

const CR0_PE = 1n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const EFER_LME_LMA = 0x500n;

/** boot.rst: "the selectors must be __BOOT_CS (0x10) and __BOOT_DS (0x18)". */
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;
const TASK = 0x20;
/** The GDT: two null descriptors, 64-bit code, data, and a task state in two halves. */
const DESCRIPTORS = [0n, 0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0x0000_8b00_0000_0067n, 0n];

/** Writes the page tables and the descriptor table. */
export function writeTables(view: DataView<ArrayBuffer>): void {
  DESCRIPTORS.forEach((descriptor, i) => {
    view.setBigUint64(GDT + 8 * i, descriptor, true);
  });
  const directories = PAGE_TABLES + 2 * PAGE_BYTES;
  view.setBigUint64(PAGE_TABLES, BigInt(PAGE_TABLES + PAGE_BYTES) | PRESENT_WRITABLE, true);
  for (let gib = 0; gib < MAPPED_GIB; gib++) {
    const entry = BigInt(directories + gib * PAGE_BYTES) | PRESENT_WRITABLE;
    view.setBigUint64(PAGE_TABLES + PAGE_BYTES + 8 * gib, entry, true);
  }
  for (let i = 0; i < 512 * MAPPED_GIB; i++)
    view.setBigUint64(directories + 8 * i, (BigInt(i) * LARGE_PAGE_BYTES) | PRESENT_WRITABLE | LARGE, true);
}

/** Sets a vCPU's registers for the kernel's entry, after `writeTables`. Throws SystemError. */
export function enterLongMode(vcpuFd: number, entry: number): void {
  const registers = getSpecialRegisters(vcpuFd);
  const flat: Partial<Segment> = { base: 0n, limit: 0xffff_ffff, present: 1, privilege: 0, s: 1, g: 1, unusable: 0 };
  Object.assign(registers.cs, flat, { selector: BOOT_CS, type: 11, l: 1, db: 0 });
  for (const name of ['ds', 'es', 'fs', 'gs', 'ss'] as const)
    Object.assign(registers[name], flat, { selector: BOOT_DS, type: 3, l: 0, db: 1 });
  Object.assign(registers.tr, { base: 0n, limit: 0x67, selector: TASK, type: 11, present: 1, s: 0, unusable: 0 });
  registers.gdt = { base: BigInt(GDT), limit: 8 * DESCRIPTORS.length - 1 };
  registers.idt = { base: 0n, limit: 0 };
  registers.cr3 = BigInt(PAGE_TABLES);
  registers.cr4 |= CR4_PAE;
  registers.cr0 |= CR0_PE | CR0_PG;
  registers.efer |= EFER_LME_LMA;
  setSpecialRegisters(vcpuFd, registers);
  setRegisters(vcpuFd, { rip: BigInt(entry), rsi: BigInt(BOOT_PARAMS), rsp: BigInt(BOOT_STACK) });
  resetFloatingPoint(vcpuFd);
}
