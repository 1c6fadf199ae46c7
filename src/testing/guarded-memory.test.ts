// Guard pages: the memory between them can be used, and touching them kills the process.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { GuardedMemory } from './guarded-memory.ts';

test('all memory between the guards can be used', () => {
  using memory = new GuardedMemory(8192);
  assert.equal(memory.bytes.length, 8192);
  memory.bytes.fill(7);
  assert.ok(memory.bytes.every((byte) => byte === 7));
});

for (const [side, index] of [
  ['before', 'byteOffset - 1'],
  ['after', 'byteOffset + length'],
]) {
  test(`touching the byte ${side} it kills the process`, () => {
    const script = `
      const { GuardedMemory } = await import('${new URL('./guarded-memory.ts', import.meta.url)}');
      const { buffer, byteOffset, length } = new GuardedMemory(4096).bytes;
      const all = new Uint8Array(buffer);
      all[byteOffset] = all[byteOffset + length - 1] = 1;
      console.log('inside');
      all[${index}] = 1;
      console.log('outside');`;
    const { stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
    });
    assert.deepEqual([stdout, signal], ['inside\n', 'SIGSEGV']);
  });
}
