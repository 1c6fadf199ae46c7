// The boot parameters of a kernel: the zero page field by field, and the memory map.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOOT_PARAMS, COMMAND_LINE, HIGH_MEMORY_START, LOW_MEMORY_END } from './address-map.ts';
import { e820Table, writeBootParams } from './boot-params.ts';
import type { LoadedKernel } from './load-kernel.ts';

const kernel: LoadedKernel = {
  entry: 0x100_0200,
  setupHeader: Uint8Array.from({ length: 0x77 }, () => 0xee),
  initrd: { address: 0x700_0000, sizeBytes: 12_345 },
  commandLineMax: 20,
};

function booted(commandLine: string, loaded: LoadedKernel = kernel): DataView<ArrayBuffer> {
  const memory = new Uint8Array(0x10_0000);
  writeBootParams(memory, loaded, { commandLine, memoryBytes: 2 ** 27, rsdp: 0xe_0000 });
  return new DataView(memory.buffer);
}

test('the zero page has the setup header, and the fields that a boot loader fills in', () => {
  const view = booted('quiet');
  const at = (offset: number): number => BOOT_PARAMS + offset;
  assert.equal(view.getUint8(at(0x1f1)), 0xee, 'the header as it was in the file');
  assert.equal(view.getUint8(at(0x210)), 0xff, 'type_of_loader');
  assert.equal(view.getUint32(at(0x218), true), 0x700_0000, 'ramdisk_image');
  assert.equal(view.getUint32(at(0x21c), true), 12_345, 'ramdisk_size');
  assert.equal(view.getUint32(at(0x228), true), COMMAND_LINE, 'cmd_line_ptr');
  assert.equal(view.getBigUint64(at(0x070), true), 0xe_0000n, 'acpi_rsdp_addr');
  assert.equal(view.getUint8(at(0x1e8)), e820Table(2 ** 27).length);
});

test('a vmlinux has no setup header, but the magic numbers are written', () => {
  const view = booted('', { ...kernel, setupHeader: undefined, initrd: undefined });
  assert.equal(view.getUint16(BOOT_PARAMS + 0x1fe, true), 0xaa55);
  assert.equal(view.getUint32(BOOT_PARAMS + 0x202, true), 0x5372_6448);
  assert.equal(view.getUint32(BOOT_PARAMS + 0x21c, true), 0);
});

test('the command line ends with a zero, and is refused if the kernel takes less', () => {
  const view = booted('x'.repeat(20));
  assert.equal(new TextDecoder().decode(new Uint8Array(view.buffer, COMMAND_LINE, 21)), `${'x'.repeat(20)}\0`);
  assert.throws(() => booted('x'.repeat(21)), /has 21 bytes, and this kernel takes 20/);
  assert.throws(() => booted('é'.repeat(11)), /has 22 bytes/);
  assert.throws(() => booted('a\0b'), /zero byte/);
});

for (const memoryBytes of [2 ** 24, LOW_MEMORY_END, LOW_MEMORY_END + 4096, 2 ** 33]) {
  test(`the memory map of ${memoryBytes / 2 ** 20} MiB is in order, without overlap, and has all of it`, () => {
    const map = e820Table(memoryBytes);
    map.forEach(({ start, end }, i) => {
      assert.ok(start < end);
      assert.ok(i === 0 || start >= map[i - 1]!.end);
    });
    const ram = map.filter(({ type }) => type === 1);
    assert.ok(ram.every(({ start, end }) => end <= LOW_MEMORY_END || start >= HIGH_MEMORY_START));
    const hole = 0x10_0000 - 0x9_fc00;
    assert.equal(
      ram.reduce((sum, { start, end }) => sum + end - start, 0),
      memoryBytes - hole,
    );
  });
}
