// test/microvm/bed: what the guests of the microVM run is well formed; that it works is for test/microvm/inside.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { guestScripts } from './guest-scripts.ts';

const files = guestScripts(['virtio_mmio', 'virtio_blk']).filter((entry) => entry.kind === 'file');
const startsWith = (bytes: Uint8Array, text: string): boolean =>
  text === new TextDecoder('latin1').decode(bytes.subarray(0, text.length));

for (const { path, mode, bytes } of files.filter((file) => startsWith(file.bytes, '#!'))) {
  test(`${path} is shell, and loads the drivers if it is an init`, () => {
    execFileSync('/bin/sh', ['-n'], { input: bytes });
    assert.equal(mode, 0o755);
    const isInit = !path.startsWith('bin/');
    assert.equal(new TextDecoder().decode(bytes).includes('insmod /modules/virtio_blk.ko'), isInit);
  });
}

test('what ends the machine with a code is an ELF program for x86-64 that begins inside its one segment', () => {
  const [program] = files.filter((file) => startsWith(file.bytes, '\x7fELF'));
  assert.ok(program);
  const view = new DataView(program.bytes.buffer);
  const [machine, entry, start, size] = [
    view.getUint16(18, true),
    view.getBigUint64(24, true),
    view.getBigUint64(80, true),
    view.getBigUint64(96, true),
  ];
  assert.deepEqual([machine, size], [62, BigInt(program.bytes.length)]);
  assert.ok(entry > start && entry < start + size);
});
