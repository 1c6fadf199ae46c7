// The ACPI tables as a guest finds them, from the RSDP on, with valid checksums.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AcpiOptions, acpiTables } from './acpi-tables.ts';
import { ACPI_TABLES, GSIS, PORTS } from './address-map.ts';

const HEADER_BYTES = 36;

class Tables {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;

  constructor(options: Partial<AcpiOptions> = {}) {
    this.bytes = acpiTables({ cpus: 1, mmioSlots: [], hasPci: false, ...options });
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
  }

  text(at: number, length: number): string {
    return new TextDecoder().decode(this.bytes.subarray(at, at + length));
  }

  /** Returns the table at a guest address, after checking its checksum. */
  at(address: bigint): DataView<ArrayBuffer> {
    const start = Number(address) - ACPI_TABLES.start;
    assert.equal(start % 16, 0, 'aligned');
    const table = this.bytes.subarray(start, start + this.view.getUint32(start + 4, true));
    assert.equal(sum(table), 0, `the checksum of ${this.text(start, 4)}`);
    return new DataView(table.buffer, table.byteOffset, table.length);
  }

  find(signature: string): DataView<ArrayBuffer> {
    const xsdt = this.at(this.view.getBigUint64(24, true));
    for (let at = HEADER_BYTES; at < xsdt.byteLength; at += 8) {
      const table = this.at(xsdt.getBigUint64(at, true));
      if (signatureOf(table) === signature) return table;
    }
    return assert.fail(`there is no ${signature}`);
  }
}

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => total + byte, 0) & 0xff;
const signatureOf = (table: DataView<ArrayBuffer>): string =>
  new TextDecoder().decode(new Uint8Array(table.buffer, table.byteOffset, 4));

test('§5.2.5.3: the RSDP has both checksums, and leads to the XSDT', () => {
  const tables = new Tables();
  assert.equal(tables.text(0, 8), 'RSD PTR ');
  assert.equal(sum(tables.bytes.subarray(0, 20)), 0);
  assert.equal(sum(tables.bytes.subarray(0, 36)), 0);
  assert.equal(signatureOf(tables.at(tables.view.getBigUint64(24, true))), 'XSDT');
});

test('§5.2.9: the FADT leads to the DSDT, and names the ports of power management and reset', () => {
  const tables = new Tables();
  const fadt = tables.find('FACP');
  assert.equal(fadt.byteLength, 276);
  assert.equal(signatureOf(tables.at(BigInt(fadt.getUint32(40, true)))), 'DSDT');
  assert.equal(fadt.getBigUint64(140, true), BigInt(fadt.getUint32(40, true)));
  assert.equal(fadt.getUint16(46, true), GSIS.acpi);
  assert.deepEqual([fadt.getUint32(56, true), fadt.getUint8(88)], [PORTS.pmEvent, 4]);
  assert.deepEqual([fadt.getUint32(64, true), fadt.getUint8(89)], [PORTS.pmControl, 2]);
  assert.deepEqual([fadt.getUint32(76, true), fadt.getUint8(91)], [PORTS.pmTimer, 4]);
  assert.deepEqual([fadt.getUint8(148), fadt.getBigUint64(152, true)], [1, BigInt(PORTS.pmEvent)]);
  assert.deepEqual([fadt.getUint8(116), fadt.getBigUint64(120, true)], [1, BigInt(PORTS.reset)]);
  assert.notEqual(fadt.getUint32(112, true) & (1 << 10), 0, 'there is a reset register');
});

test('§5.2.12: the MADT has each processor, the IOAPIC under an id of its own, and the level of the ACPI interrupt', () => {
  const madt = new Tables({ cpus: 3 }).find('APIC');
  const entries: number[][] = [];
  for (let at = 44; at < madt.byteLength; at += madt.getUint8(at + 1))
    entries.push(Array.from({ length: madt.getUint8(at + 1) }, (_, i) => madt.getUint8(at + i)));
  assert.deepEqual(entries, [
    [0, 8, 0, 0, 1, 0, 0, 0],
    [0, 8, 1, 1, 1, 0, 0, 0],
    [0, 8, 2, 2, 1, 0, 0, 0],
    [1, 12, 3, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
    [2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
  ]);
});

test('the DSDT has the devices that are there, and no others', () => {
  const dsdtOf = (options: Partial<AcpiOptions>): string => {
    const tables = new Tables(options);
    const dsdt = tables.at(BigInt(tables.find('FACP').getUint32(40, true)));
    return new TextDecoder('latin1').decode(new Uint8Array(dsdt.buffer, dsdt.byteOffset, dsdt.byteLength));
  };
  assert.match(dsdtOf({}), /_S5_[\s\S]*COM1/);
  assert.doesNotMatch(dsdtOf({}), /LNRO0005|PCI0/);
  assert.match(dsdtOf({ mmioSlots: [0, 1, 10] }), /VR00[\s\S]*LNRO0005[\s\S]*VR01[\s\S]*VR10/);
  assert.match(dsdtOf({ hasPci: true }), /PCI0/);
});

test('with every slot and every processor the tables fit into their area', () => {
  const { bytes } = new Tables({ cpus: 254, mmioSlots: GSIS.virtioMmio.map((_, slot) => slot), hasPci: true });
  assert.ok(bytes.length <= ACPI_TABLES.end - ACPI_TABLES.start);
});
