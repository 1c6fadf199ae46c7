// Loading kernels and initrds: at the addresses in their headers, and refused in one line if they are damaged or do not
// fit.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { closeFd } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';
import { createMemfd } from '../sys/memfd.ts';
import { Payload } from '../testing/payload.ts';
import { bzImageKernel, elfKernel, KERNEL_ORIGIN } from '../testing/payload-kernel.ts';
import { KernelError } from './kernel-file.ts';
import { type LowMemory, loadKernel } from './load-kernel.ts';

const MIB = 2 ** 20;
const code = (): Payload => new Payload('long', KERNEL_ORIGIN).nop().hlt();

function fileOf(t: TestContext, bytes: Uint8Array, name = 'kernel'): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-kernel-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
}

/** Memory as `loadKernel` takes it, and its bytes. */
function memoryOf(t: TestContext, sizeBytes: number): LowMemory & { readonly bytes: Uint8Array } {
  const fd = createMemfd('kernel-test', sizeBytes);
  const mapping = Mapping.ofFile(fd, sizeBytes);
  t.after(() => {
    mapping[Symbol.dispose]();
    closeFd(fd);
  });
  return { fd, sizeBytes, bytes: mapping.bytes };
}

function changed(bytes: Uint8Array<ArrayBuffer>, change: (view: DataView<ArrayBuffer>) => void): Uint8Array {
  change(new DataView(bytes.buffer));
  return bytes;
}

for (const [name, image] of [
  ['an ELF file', elfKernel],
  ['a bzImage', bzImageKernel],
] as const) {
  test(`${name} is loaded at its address, and entered at its first instruction`, (t) => {
    const memory = memoryOf(t, 4 * MIB);
    const loaded = loadKernel(memory, fileOf(t, image(code())), undefined);
    assert.equal(loaded.entry, KERNEL_ORIGIN);
    assert.deepEqual([...memory.bytes.subarray(KERNEL_ORIGIN, KERNEL_ORIGIN + 3)], [0x90, 0xf4, 0]);
    assert.equal(loaded.initrd, undefined);
    assert.equal(loaded.commandLineMax, 2047);
  });

  test(`${name} that is cut off before its last instruction is refused wherever that is`, (t) => {
    const whole = image(code());
    const path = fileOf(t, whole);
    const memory = memoryOf(t, 4 * MIB);
    for (let length = 0; length < whole.length; length += length < 0x270 ? 1 : 97) {
      writeFileSync(path, whole.subarray(0, length));
      assert.throws(() => loadKernel(memory, path, undefined), KernelError, `${length} bytes`);
    }
  });

  test(`${name} with any bytes changed is loaded or refused, and never anything else`, (t) => {
    const whole = image(code());
    const path = fileOf(t, whole);
    const memory = memoryOf(t, 4 * MIB);
    const damage = fc.array(fc.tuple(fc.nat(0x300), fc.nat(255)), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(damage, (changes) => {
        const bytes = whole.slice();
        for (const [at, value] of changes) bytes[at] = value;
        writeFileSync(path, bytes);
        try {
          loadKernel(memory, path, undefined);
        } catch (error) {
          assert.ok(error instanceof KernelError, String(error));
        }
      }),
      { numRuns: 300 },
    );
  });
}

test('the initrd is at the end of memory, aligned to a page', (t) => {
  const memory = memoryOf(t, 8 * MIB);
  const initrd = fileOf(t, new Uint8Array(5000).fill(7), 'initrd');
  const { initrd: placed } = loadKernel(memory, fileOf(t, bzImageKernel(code())), initrd);
  assert.deepEqual(placed, { address: 8 * MIB - 8192, sizeBytes: 5000 });
  assert.equal(memory.bytes[8 * MIB - 8192], 7);
  assert.equal(memory.bytes[8 * MIB - 8192 + 5000], 0);
});

test('the initrd stays below what the kernel can reach', (t) => {
  const kernel = changed(bzImageKernel(code()), (view) => view.setUint32(0x22c, 5 * MIB - 1, true));
  const initrd = fileOf(t, new Uint8Array(4096), 'initrd');
  const { initrd: placed } = loadKernel(memoryOf(t, 8 * MIB), fileOf(t, kernel), initrd);
  assert.equal(placed?.address, 5 * MIB - 4096);
});

const refusals: readonly [string, (bytes: Uint8Array<ArrayBuffer>) => Uint8Array, RegExp][] = [
  ['text', () => new TextEncoder().encode('#!/bin/sh\n'.repeat(200)), /is not a kernel: neither a bzImage/],
  ['an empty file', () => new Uint8Array(0), /is not a kernel/],
  ['a bzImage of protocol 2.11', (b) => changed(b, (v) => v.setUint16(0x206, 0x20b, true)), /protocol 2\.11: .* 2\.12/],
  ['a 32-bit bzImage', (b) => changed(b, (v) => v.setUint16(0x236, 0, true)), /is a 32-bit kernel/],
  ['a zImage', (b) => changed(b, (v) => v.setUint8(0x211, 0)), /is a zImage/],
  ['a bzImage for 128 MiB', (b) => changed(b, (v) => v.setUint32(0x260, 126 * MIB, true)), /64 MiB .* needs 128 MiB/],
  ['a bzImage that stands nowhere', (b) => changed(b, (v) => v.setBigUint64(0x258, 2n ** 40n, true)), /damaged/],
];

for (const [name, change, what] of refusals) {
  test(`${name} is refused`, (t) => {
    const path = fileOf(t, change(bzImageKernel(code())));
    assert.throws(
      () => loadKernel(memoryOf(t, 64 * MIB), path, undefined),
      (error: Error) => {
        assert.ok(error instanceof KernelError);
        assert.match(error.message, what);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
    );
  });
}

const elfRefusals: readonly [string, (view: DataView<ArrayBuffer>) => void, RegExp][] = [
  ['of 32 bits', (view) => view.setUint8(4, 1), /of 32 bits/],
  ['for another machine', (view) => view.setUint16(18, 183, true), /ELF machine 183/],
  ['with a segment beyond its end', (view) => view.setBigUint64(64 + 8, 1n << 60n, true), /beyond its end/],
  ['with more in the file than in memory', (view) => view.setBigUint64(64 + 40, 1n, true), /more in the file/],
  ['without program headers', (view) => view.setUint16(56, 0, true), /program headers/],
  ['with its program headers elsewhere', (view) => view.setBigUint64(32, 1n << 50n, true), /headers beyond its end/],
  ['that begins outside of itself', (view) => view.setBigUint64(24, 0n, true), /no segment that holds its entry/],
  ['for the first MiB', (view) => view.setBigUint64(64 + 24, 0x9000n, true), /wants to stand below 1 MiB/],
  ['for the end of time', (view) => view.setBigUint64(64 + 24, 2n ** 63n, true), /below the devices/],
];

for (const [name, change, what] of elfRefusals) {
  test(`an ELF file ${name} is refused`, (t) => {
    const path = fileOf(t, changed(elfKernel(code()), change));
    assert.throws(() => loadKernel(memoryOf(t, 4 * MIB), path, undefined), what);
  });
}

test('an ELF kernel that names its entry by its own address is entered there', (t) => {
  const linked = changed(elfKernel(code()), (view) => {
    view.setBigUint64(24, 0xffff_ffff_8100_0001n, true);
    view.setBigUint64(64 + 16, 0xffff_ffff_8100_0000n, true);
  });
  assert.equal(loadKernel(memoryOf(t, 4 * MIB), fileOf(t, linked), undefined).entry, KERNEL_ORIGIN + 1);
});

test('what does not fit is refused with the memory that it needs', (t) => {
  const kernel = fileOf(t, bzImageKernel(code()));
  const initrd = fileOf(t, new Uint8Array(2 * MIB), 'initrd');
  const load = (mib: number) => () => loadKernel(memoryOf(t, mib * MIB), kernel, initrd);
  assert.throws(load(4), /^KernelError: 4 MiB of memory are too few: kernel and initrd need 5 MiB/);
  assert.doesNotThrow(load(6));
  const empty = fileOf(t, new Uint8Array(0), 'initrd');
  assert.throws(() => loadKernel(memoryOf(t, 8 * MIB), kernel, empty), /initrd .* is empty/);
});
