// vmm: the boot parameters of a kernel: the "zero page" (struct boot_params), its memory map, its command line.
import {
  ACPI_TABLES,
  BOOT_PARAMS,
  COMMAND_LINE,
  HIGH_MEMORY_START,
  LEGACY_AREA,
  LOW_MEMORY_END,
} from './address-map.ts';
import { SETUP_HEADER } from './bzimage.ts';
import { KernelError } from './kernel-file.ts';
import type { LoadedKernel } from './load-kernel.ts';

/** Offsets in struct boot_params (Documentation/arch/x86/zero-page.rst). */
const FIELD = {
  rsdpAddress: 0x070,
  e820Entries: 0x1e8,
  bootFlag: 0x1fe,
  magic: 0x202,
  typeOfLoader: 0x210,
  loadFlags: 0x211,
  initrdAddress: 0x218,
  initrdBytes: 0x21c,
  commandLine: 0x228,
  e820Table: 0x2d0,
  sizeBytes: 0x1000,
} as const;

const BOOT_FLAG = 0xaa55;
const MAGIC = 0x5372_6448;
/** "0xFF: undefined", for loaders without a number of their own. */
const LOADER_UNDEFINED = 0xff;
const LOADED_HIGH = 1;
const E820_RAM = 1;
const E820_RESERVED = 2;
const E820_ENTRY_BYTES = 20;

export interface E820Entry {
  readonly start: number;
  readonly end: number;
  readonly type: number;
}

/** The memory map: what the kernel may use as memory, and what is reserved. */
export function e820Table(memoryBytes: number): E820Entry[] {
  const entries: E820Entry[] = [
    { start: 0, end: LEGACY_AREA.start, type: E820_RAM },
    { start: LEGACY_AREA.start, end: 0xa_0000, type: E820_RESERVED },
    { start: ACPI_TABLES.start, end: ACPI_TABLES.end, type: E820_RESERVED },
    { start: LEGACY_AREA.end, end: Math.min(memoryBytes, LOW_MEMORY_END), type: E820_RAM },
  ];
  const high = memoryBytes - LOW_MEMORY_END;
  if (high > 0) entries.push({ start: HIGH_MEMORY_START, end: HIGH_MEMORY_START + high, type: E820_RAM });
  return entries;
}

/** Writes boot_params and the command line. Throws KernelError where the line is too long. */
export function writeBootParams(
  memory: Uint8Array<ArrayBuffer>,
  kernel: LoadedKernel,
  { commandLine, memoryBytes, rsdp }: { commandLine: string; memoryBytes: number; rsdp: number },
): void {
  const line = commandLineBytes(commandLine, kernel.commandLineMax);
  memory.set(line, COMMAND_LINE);
  memory[COMMAND_LINE + line.length] = 0;
  const page = memory.subarray(BOOT_PARAMS, BOOT_PARAMS + FIELD.sizeBytes);
  page.fill(0);
  if (kernel.setupHeader !== undefined) page.set(kernel.setupHeader, SETUP_HEADER);
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  view.setUint16(FIELD.bootFlag, BOOT_FLAG, true);
  view.setUint32(FIELD.magic, MAGIC, true);
  view.setUint8(FIELD.typeOfLoader, LOADER_UNDEFINED);
  view.setUint8(FIELD.loadFlags, view.getUint8(FIELD.loadFlags) | LOADED_HIGH);
  view.setUint32(FIELD.initrdAddress, kernel.initrd?.address ?? 0, true);
  view.setUint32(FIELD.initrdBytes, kernel.initrd?.sizeBytes ?? 0, true);
  view.setUint32(FIELD.commandLine, COMMAND_LINE, true);
  view.setBigUint64(FIELD.rsdpAddress, BigInt(rsdp), true);
  const entries = e820Table(memoryBytes);
  view.setUint8(FIELD.e820Entries, entries.length);
  entries.forEach(({ start, end, type }, i) => {
    const at = FIELD.e820Table + i * E820_ENTRY_BYTES;
    view.setBigUint64(at, BigInt(start), true);
    view.setBigUint64(at + 8, BigInt(end - start), true);
    view.setUint32(at + 16, type, true);
  });
}

/** Returns the bytes of a kernel's command line. Throws KernelError where the kernel would not read all of it. */
export function commandLineBytes(commandLine: string, maxBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(commandLine);
  if (bytes.length > maxBytes)
    throw new KernelError(`the command line has ${bytes.length} bytes, and this kernel takes ${maxBytes} at most`);
  if (bytes.includes(0))
    throw new KernelError('the command line holds a zero byte: the kernel would stop reading there');
  return bytes;
}
