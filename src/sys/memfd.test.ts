// memfds: name, size and seals.
import assert from 'node:assert/strict';
import { fstatSync, ftruncateSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { F_ADD_SEALS, F_SEAL_SHRINK, MFD_ALLOW_SEALING } from './constants.ts';
import { closeFd, libc } from './libc.ts';
import { createMemfd, sealShrink, sealsOf } from './memfd.ts';
import { callScratch } from './scratch.ts';

test('it has the name and the size it was given, and takes no memory yet', () => {
  const fd = createMemfd('a name', 1 << 30);
  assert.match(readlinkSync(`/proc/self/fd/${fd}`), /memfd:a name/);
  const { size, blocks } = fstatSync(fd);
  assert.deepEqual([size, blocks], [1 << 30, 0]);
  closeFd(fd);
});

test('it can grow and never shrink: a mapping of it keeps its pages', () => {
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

/** A memfd as another program creates it. */
function received(flags: number): number {
  // SAFETY: the name is in this thread's scratch until the call returns.
  const fd = libc.memfd_create(callScratch.cString(0, 'received'), flags);
  ftruncateSync(fd, 8192);
  return fd;
}

test('regression: memory that was received is sealed, and then its sender cannot shrink it', () => {
  const fd = received(MFD_ALLOW_SEALING);
  assert.equal(sealsOf(fd), 0);
  assert.equal(sealShrink(fd), true);
  assert.equal(sealsOf(fd), F_SEAL_SHRINK);
  assert.throws(() => ftruncateSync(fd, 4096), { code: 'EPERM' });
  assert.equal(sealShrink(fd), true);
  closeFd(fd);
});

test('sealShrink returns whether memory is sealed where it cannot be sealed any more', () => {
  const F_SEAL_SEAL = 1;
  const unsealable = received(0);
  assert.deepEqual([sealShrink(unsealable), sealsOf(unsealable)], [false, F_SEAL_SEAL]);
  closeFd(unsealable);
  const sealed = createMemfd('sealed', 4096);
  libc.fcntl(sealed, F_ADD_SEALS, F_SEAL_SEAL);
  assert.equal(sealShrink(sealed), true);
  closeFd(sealed);
});

test('what is no memory has no seals', () => {
  const fd = openSync(import.meta.filename, 'r');
  assert.deepEqual([sealShrink(fd), sealsOf(fd)], [false, undefined]);
  closeFd(fd);
  assert.deepEqual([sealShrink(-1), sealsOf(-1)], [false, undefined]);
});
