// vmm: the ACPI tables, which describe processors, interrupt controllers, and the ports of power management.
import { ACPI_TABLES, GSIS, IOAPIC, LOCAL_APIC, PORTS } from './address-map.ts';
import { type DescribedDevices, definitionBlock } from './dsdt.ts';
import { RESET_VALUE } from './power-management.ts';

const HEADER_BYTES = 36;
const RSDP_BYTES = 36;
const ALIGNMENT = 16;

export interface AcpiOptions extends DescribedDevices {
  readonly cpus: number;
}

/** Returns the bytes to copy to `ACPI_TABLES.start`; the RSDP is first. ACPI 6.5, chapter 5. Pure. */
export function acpiTables(options: AcpiOptions): Uint8Array<ArrayBuffer> {
  const memory = new Uint8Array(ACPI_TABLES.end - ACPI_TABLES.start);
  let used = RSDP_BYTES;
  const place = (table: Uint8Array<ArrayBuffer>): number => {
    const at = Math.ceil(used / ALIGNMENT) * ALIGNMENT;
    memory.set(table, at);
    used = at + table.length;
    return ACPI_TABLES.start + at;
  };
  const dsdt = place(table('DSDT', 2, definitionBlock(options)));
  const fadt = place(table('FACP', 6, fixedDescription(dsdt)));
  const madt = place(table('APIC', 5, interruptControllers(options.cpus)));
  const xsdt = place(table('XSDT', 1, addresses([fadt, madt])));
  memory.set(rootPointer(xsdt));
  return memory.slice(0, used);
}

/** Returns the byte that makes the bytes of a table add up to 0. */
export function checksum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** §5.2.6: a table with the header that all but the RSDP have. */
function table(signature: string, revision: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  bytes.set(ascii(signature), 0);
  view.setUint32(4, bytes.length, true);
  bytes[8] = revision;
  bytes.set(ascii('BELFRYMICROVM '), 10);
  view.setUint32(24, 1, true);
  bytes.set(ascii('BLFR'), 28);
  view.setUint32(32, 1, true);
  bytes.set(body, HEADER_BYTES);
  bytes[9] = checksum(bytes);
  return bytes;
}

/** §5.2.5.3: revision 2, so that it points to the XSDT. Its first 20 bytes have a checksum of their own. */
function rootPointer(xsdt: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(RSDP_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(ascii('RSD PTR '), 0);
  bytes.set(ascii('BELFRY'), 9);
  bytes[15] = 2;
  view.setUint32(20, RSDP_BYTES, true);
  view.setBigUint64(24, BigInt(xsdt), true);
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

function addresses(tables: readonly number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(tables, BigInt).buffer);
}

/** Offsets in the FADT (§5.2.9), behind its header. */
const FADT = {
  dsdt: 40,
  sciInterrupt: 46,
  pmEventBlock: 56,
  pmControlBlock: 64,
  pmTimerBlock: 76,
  pmEventBytes: 88,
  pmControlBytes: 89,
  pmTimerBytes: 91,
  bootFlags: 109,
  flags: 112,
  resetRegister: 116,
  resetValue: 128,
  minorRevision: 131,
  xDsdt: 140,
  xPmEventBlock: 148,
  xPmControlBlock: 172,
  xPmTimerBlock: 208,
  sizeBytes: 276,
} as const;

const WBINVD = 1 << 0;
const PROC_C1 = 1 << 2;
const NO_FIXED_POWER_BUTTON = 1 << 4;
const NO_FIXED_SLEEP_BUTTON = 1 << 5;
const RESET_REGISTER_SUPPORTED = 1 << 10;
/** No keyboard controller to probe for, no VGA. */
const NO_VGA = 1 << 2;

function fixedDescription(dsdt: number): Uint8Array {
  const bytes = new Uint8Array(FADT.sizeBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(FADT.dsdt, dsdt, true);
  view.setBigUint64(FADT.xDsdt, BigInt(dsdt), true);
  view.setUint16(FADT.sciInterrupt, GSIS.acpi, true);
  const blocks = [
    [FADT.pmEventBlock, FADT.xPmEventBlock, FADT.pmEventBytes, PORTS.pmEvent, 4],
    [FADT.pmControlBlock, FADT.xPmControlBlock, FADT.pmControlBytes, PORTS.pmControl, 2],
    [FADT.pmTimerBlock, FADT.xPmTimerBlock, FADT.pmTimerBytes, PORTS.pmTimer, 4],
  ] as const;
  for (const [block, xBlock, length, port, sizeBytes] of blocks) {
    view.setUint32(block, port, true);
    view.setUint8(length, sizeBytes);
    writePort(view, xBlock, port, sizeBytes);
  }
  view.setUint16(FADT.bootFlags, NO_VGA, true);
  const flags = WBINVD | PROC_C1 | NO_FIXED_POWER_BUTTON | NO_FIXED_SLEEP_BUTTON | RESET_REGISTER_SUPPORTED;
  view.setUint32(FADT.flags, flags, true);
  writePort(view, FADT.resetRegister, PORTS.reset, 1);
  view.setUint8(FADT.resetValue, RESET_VALUE);
  view.setUint8(FADT.minorRevision, 5);
  return bytes.subarray(HEADER_BYTES);
}

/** §5.2.3.2: a generic address: space 1 is ports; width and access size of each. */
function writePort(view: DataView, at: number, port: number, sizeBytes: number): void {
  view.setUint8(at, 1);
  view.setUint8(at + 1, 8 * Math.min(sizeBytes, 4));
  view.setUint8(at + 3, sizeBytes === 1 ? 1 : sizeBytes === 2 ? 2 : 3);
  view.setBigUint64(at + 4, BigInt(port), true);
}

const PCAT_COMPATIBLE = 1;
const ENABLED = 1;
/** Active high, level-triggered: flags of an interrupt source override (§5.2.12.5). */
const HIGH_LEVEL = 0x0d;

/** §5.2.12: the local APIC of each processor, the IOAPIC, and the ACPI interrupt, which is level-triggered. */
function interruptControllers(cpus: number): Uint8Array {
  const bytes: number[] = [...words(LOCAL_APIC), ...words(PCAT_COMPATIBLE)];
  for (let cpu = 0; cpu < cpus; cpu++) bytes.push(0, 8, cpu, cpu, ...words(ENABLED));
  // The IOAPIC's id must differ from those of the local APICs.
  bytes.push(1, 12, cpus, 0, ...words(IOAPIC), ...words(0));
  bytes.push(2, 10, 0, GSIS.acpi, ...words(GSIS.acpi), HIGH_LEVEL, 0);
  return Uint8Array.from(bytes);
}

function words(value: number): number[] {
  return [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
}
