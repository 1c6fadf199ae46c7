// A file that lives in memory.
import assert from 'node:assert/strict';
import { fstatSync, ftruncateSync, readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { closeFd } from './libc.ts';
import { createMemfd } from './memfd.ts';

test('it has the name and the size it was given, and takes no memory yet', () => {
  const fd = createMemfd('a name', 1 << 30);
  assert.match(readlinkSync(`/proc/self/fd/${fd}`), /memfd:a name/);
  const { size, blocks } = fstatSync(fd);
  assert.deepEqual([size, blocks], [1 << 30, 0]);
  closeFd(fd);
});

test('it can grow and never shrink: who maps it can rely on its pages', () => {
  const fd = createMemfd('sealed', 8192);
  assert.throws(() => ftruncateSync(fd, 4096), { code: 'EPERM' });
  ftruncateSync(fd, 16384);
  assert.throws(() => ftruncateSync(fd, 8192), { code: 'EPERM' });
  closeFd(fd);
});

test('a size that cannot be is refused', () => {
  const before = readdirSync('/proc/self/fd').length;
  assert.throws(() => createMemfd('absurd', -1), { code: 'EINVAL', message: /ftruncate: EINVAL: -1 bytes of memory/ });
  assert.equal(readdirSync('/proc/self/fd').length, before);
});
